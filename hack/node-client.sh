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

if ! command -v npm >/dev/null; then
	echo "installing Node.js and npm to run clients in JavaScript"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm ca-certificates >/dev/null
fi
mkdir -p "$dir"
cp hack/e2e/testdata/node-client/package{,-lock}.json "$dir"
npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error
