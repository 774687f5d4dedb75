#!/usr/bin/env bash
# curl alone.
set -euo pipefail
umask 077
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/unsealed.sh"
key=$(printf 'Authorization: Token token="%s"' "$token" | curl -fsS --cacert "$CONJUR_CA" -H @- \
    --data-urlencode "id=$HOST_ID" --data-urlencode 'annotations[authn/api-key]=true' \
    "$CONJUR/host_factories/hosts" | jq -er .api_key)

printf 'machine %s/authn\n  login host/%s\n  password %s\n' "$CONJUR" "$HOST_ID" "$key" >"$OUT.new"
mv "$OUT.new" "$OUT"
