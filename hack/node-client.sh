#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Brings what the clients of hack/e2e/testdata/node-client need: Node.js with npm,
# from Debian where there is none, and the packages that their lock file names.
#
#   hack/node-client.sh DIR    DIR gets node_modules
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1

hack/npm.sh "run clients in JavaScript"
mkdir -p "$dir"
cp hack/e2e/testdata/node-client/package{,-lock}.json "$dir"
npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error
