#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Lists the directories of the repository's Go modules, the one with the heaviest
# dependencies last, so that the quick answers come first.
set -euo pipefail
cd "$(dirname "$0")/.."

find . \( -name '.?*' -o -name testdata -o -name node_modules \) -prune -o -name go.mod -printf '%h\n' |
	sed 's|^\./||' | LC_ALL=C sort | awk '$0 == "hack/localcluster" { last = $0; next } { print } END { if (last) print last }'
