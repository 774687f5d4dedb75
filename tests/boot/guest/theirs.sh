#!/bin/bash
# What others want of user-data, as a script.
set -euo pipefail
echo their script >/etc/theirs.script
