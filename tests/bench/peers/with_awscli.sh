#!/usr/bin/env bash
# The AWS command line, curl and jq. AWS is the `aws` to run.
set -euo pipefail
umask 077
export AWS_DEFAULT_REGION=$AWS_REGION
here=$(dirname "$0")
sealed=$(mktemp)
blob=$(mktemp)
trap 'rm -f "$sealed" "$blob"' EXIT

"${AWS:-aws}" s3api get-object --bucket "$BUCKET" --key "$OBJECT" "$sealed" >/dev/null
jq -r .ciphertext "$sealed" | base64 -d >"$blob"
token=$("${AWS:-aws}" kms decrypt --ciphertext-blob "fileb://$blob" \
    --encryption-context "$(jq -c -f "$here/context.jq" "$sealed")" \
    --query Plaintext --output text | base64 -d)
key=$(printf 'Authorization: Token token="%s"' "$token" | curl -fsS --cacert "$CONJUR_CA" -H @- \
    --data-urlencode "id=$HOST_ID" --data-urlencode 'annotations[authn/api-key]=true' \
    "$CONJUR/host_factories/hosts" | jq -er .api_key)

printf 'machine %s/authn\n  login host/%s\n  password %s\n' "$CONJUR" "$HOST_ID" "$key" >"$OUT.new"
mv "$OUT.new" "$OUT"
