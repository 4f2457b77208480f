#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Brings and bundles the Workers of hack/e2e/edge: what their lock file names, a
# Node.js that wrangler takes among it, Prisma's client, and one bundle as wrangler
# would deploy it.
#
#   hack/workers.sh DIR    DIR gets node_modules and dist
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1

hack/npm.sh "run Workers"
mkdir -p "$dir"
cp -r hack/e2e/edge/testdata/workers/. "$dir"
cd "$dir"
# Debian's npm has packages installed that want a newer Node.js than its own: they get
# it. It does not link the program of that.
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
mkdir -p bin
ln -sf "$PWD"/node_modules/node-linux-*/bin/node bin/node

# Nothing asks anybody on the Internet: Prisma would for an engine that generating has
# no use for.
export PATH="$PWD/bin:$PWD/node_modules/.bin:$PATH" CI=1 WRANGLER_SEND_METRICS=false WRANGLER_HIDE_BANNER=true PRISMA_SCHEMA_ENGINE_BINARY=/bin/true
export CHECKPOINT_DISABLE=1 PRISMA_HIDE_UPDATE_MESSAGE=1 NO_UPDATE_NOTIFIER=1
rm -rf dist generated
prisma generate
wrangler deploy --dry-run --outdir dist
