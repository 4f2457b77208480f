#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Brings Prisma and bundles the corpus of hack/e2e/accelerate with it, for Node.js and as
# a Worker. What bundles and runs Workers is taken from hack/workers.sh's directory.
#
#   hack/accelerate.sh WORKERS DIR          the version that the lock file names
#   hack/accelerate.sh WORKERS DIR all      every version of testdata/versions.txt
#
# DIR gets a directory for each version.
set -euo pipefail
cd "$(dirname "$0")/.."
hack/npm.sh "run Prisma's client"
workers=$(realpath "$1")
dir=$2
which=${3:-newest}

# Nothing asks anybody on the Internet: Prisma would for an engine that generating has
# no use for.
export PATH="$workers/bin:$workers/node_modules/.bin:$PATH" CI=1 WRANGLER_SEND_METRICS=false WRANGLER_HIDE_BANNER=true
export PRISMA_SCHEMA_ENGINE_BINARY=/bin/true PRISMA_QUERY_ENGINE_LIBRARY=/bin/true
export CHECKPOINT_DISABLE=1 PRISMA_HIDE_UPDATE_MESSAGE=1 NO_UPDATE_NOTIFIER=1

corpus=hack/e2e/accelerate/testdata/corpus
versions=hack/e2e/accelerate/testdata/versions.txt

# install has a version's packages in the working directory; once is enough.
install() {
	local client=$1 executor=$2 wanted
	wanted=$(cat package.json package-lock.json; echo "$client $executor")
	[[ -f installed && "$(<installed)" == "$wanted" ]] && return
	if [[ $client == "$newest" ]]; then
		npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	else
		rm package-lock.json
		npm pkg delete dependencies.@prisma/query-plan-executor
		local packages=("prisma@$client" "@prisma/client@$client" "@prisma/adapter-pg@$client")
		[[ $executor == - ]] || packages+=("@prisma/query-plan-executor@$executor")
		npm install --save-exact --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error "${packages[@]}"
	fi
	echo "$wanted" >installed
}

# schema has the datasource's URL where versions before 7 want it.
schema() {
	[[ $1 == 6.* ]] || return 0
	sed -i 's|^  provider = "postgresql"$|&\n  url = env("DATABASE_URL")|' prisma/schema.prisma
}

bundle() {
	local client=$1 executor=$2
	rm -rf dist dist-node
	if ! cmp -s prisma/schema.prisma generated/schema.prisma; then
		rm -rf generated
		DATABASE_URL=postgresql://unused "$PWD/node_modules/.bin/prisma" generate >generate.log 2>&1 || { cat generate.log; return 1; }
		cp prisma/schema.prisma generated/
	fi
	esbuild node.js --bundle --platform=node --format=esm --packages=external --outfile=dist-node/node.js --log-level=warning
	wrangler deploy --dry-run --outdir dist >bundle.log 2>&1 || { cat bundle.log; return 1; }
	[[ $executor == - ]] && rm -f executor.js
	mkdir -p bin
	ln -sf "$workers/bin/node" bin/node
}

newest=$(awk 'END { print $1 }' $versions)
grep -v '^#' $versions | while read -r client executor; do
	[[ $which == all || $client == "$newest" ]] || continue
	echo "Prisma $client"
	mkdir -p "$dir/$client"
	cp -r $corpus/. "$dir/$client"
	(
		cd "$dir/$client"
		install "$client" "$executor"
		schema "$client"
		bundle "$client" "$executor"
	) </dev/null
done
