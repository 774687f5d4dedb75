# shellcheck shell=bash
# To be sourced: sets `token`, the host factory token, by curl and its --aws-sigv4. The secret key stands
# on its command line for all to see.
here=$(dirname "${BASH_SOURCE[0]}")
imds=$AWS_EC2_METADATA_SERVICE_ENDPOINT

session=$(curl -fsS -X PUT "$imds/latest/api/token" -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')
metadata() {
    curl -fsS -H "X-aws-ec2-metadata-token: $session" "$imds/latest/meta-data/iam/security-credentials/$1"
}
credentials=$(metadata "$(metadata '')")
user=$(jq -r '.AccessKeyId + ":" + .SecretAccessKey' <<<"$credentials")
signed() { # signed SERVICE ARGUMENT...
    curl -fsS --aws-sigv4 "aws:amz:$AWS_REGION:$1" -u "$user" \
        -H "X-Amz-Security-Token: $(jq -r .Token <<<"$credentials")" "${@:2}"
}

sealed=$(signed s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "${AWS_ENDPOINT_URL_S3:-$AWS_ENDPOINT_URL}/$BUCKET/$OBJECT")
request=$(jq -c --argjson context "$(jq -c -f "$here/context.jq" <<<"$sealed")" \
    '{CiphertextBlob: .ciphertext, EncryptionContext: $context}' <<<"$sealed")
# shellcheck disable=SC2034 # whoever sources this uses it
token=$(signed kms -H 'Content-Type: application/x-amz-json-1.1' -H 'X-Amz-Target: TrentService.Decrypt' \
    -d "$request" "${AWS_ENDPOINT_URL_KMS:-$AWS_ENDPOINT_URL}/" | jq -er .Plaintext | base64 -d)
