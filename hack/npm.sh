#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Brings Node.js with npm, from Debian, where there is none.
#
#   hack/npm.sh PURPOSE    PURPOSE is what it is for, in words
set -euo pipefail

command -v npm >/dev/null && exit
echo "installing Node.js and npm to $1"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm ca-certificates >/dev/null
