#!/usr/bin/env bash
# Shows the packages in target/package to lintian and rpmlint. Every word of theirs is a failure; what is
# accepted stands in packaging/deb/*.lintian-overrides and packaging/rpm/rpmlint.toml, with its reason.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash packaging/build/fresh.sh
debs=(target/package/*.deb)
rpms=(target/package/*.rpm)

# Its remark on being run by root says nothing of the packages.
lintian --allow-root --tag-display-limit 0 --fail-on error,warning,info "${debs[@]}"

said=$(rpmlint --config packaging/rpm/rpmlint.toml "${rpms[@]}") || true
grep --quiet "${#rpms[@]} packages and 0 specfiles checked; 0 errors, 0 warnings" <<<"$said" || {
    echo "$said" >&2
    exit 1
}
echo "lintian and rpmlint have nothing to say of ${#debs[@]} deb and ${#rpms[@]} rpm."
