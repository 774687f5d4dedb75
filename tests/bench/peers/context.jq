# The KMS encryption context of a sealed token: every clear member, as text; empty lists are left out.
with_entries(
  select((.key | IN("ciphertext", "key_arn") | not) and .value != [])
  | .key |= "imprint:" + .
  | .value |= (if type == "array" then join(",") else tostring end)
)
