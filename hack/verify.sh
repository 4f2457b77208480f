#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Shows that what is committed is complete: generated files are what generation
# makes, Go files are formatted, modules are tidy, and nothing lies beside.
# It leaves what it made in the tree, so that committing it is the remedy.
#
#   hack/verify.sh BIN    BIN holds the tools of hack/generate.sh and golangci-lint
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
bin=$(realpath "$1")

tidy() {
	local module code=0
	for module in $(hack/modules.sh); do
		(cd "$module" && go mod tidy -diff) || {
			echo "$module/go.mod is not tidy: run \`go mod tidy\` in $module" >&2
			code=1
		}
	done
	return $code
}

clean() {
	local dirt
	dirt=$(git status --porcelain --untracked-files=all)
	[[ -n $dirt ]] || return 0
	git --no-pager diff HEAD --
	cat >&2 <<EOF

The tree differs from what is committed:
$dirt

Files that \`make generate\` or \`make fmt\` changed must be committed with what they
are made from; your own work must be committed, or ignored, before it can be verified.
EOF
	return 1
}

case ${2:-all} in
tidy) tidy ;;
clean) clean ;;
all)
	hack/step.sh "Generating code, definitions, rules and the API reference" -- hack/generate.sh "$bin"
	code=0
	hack/step.sh "Formatting" -- "$bin/golangci-lint" fmt --config "$top/.golangci.yml" ./... || code=1
	hack/step.sh "Comparing every go.mod with its module's imports" -- "$0" "$bin" tidy || code=1
	hack/step.sh "Comparing the tree with what is committed" -- "$0" "$bin" clean || code=1
	exit "$code"
	;;
esac
