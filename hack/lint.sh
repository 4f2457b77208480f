#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Lints every Go module, the shell scripts, and the size of functions and files.
# Goes on after a finding, so that one run shows them all.
#
#   hack/lint.sh BIN    BIN holds golangci-lint and sizes
set -uo pipefail
cd "$(dirname "$0")/.."
top=$PWD
bin=$(realpath "$1")
failed=()

go_modules() {
	local module code=0
	for module in $(hack/modules.sh); do
		echo "    $module"
		(cd "$module" && "$bin/golangci-lint" run --config "$top/.golangci.yml" ./...) || code=1
	done
	return $code
}

shell_scripts() {
	local script code=0
	while read -r script; do
		bash -n "$script" || code=1
		if [[ $(sed -n '2,3p' "$script") != $'# SPDX-FileCopyrightText: The Poolfleet Authors\n# SPDX-License-Identifier: Apache-2.0' ]]; then
			echo "$script: lines 2 and 3 must be the SPDX header, as in hack/lint.sh"
			code=1
		fi
	done < <(git ls-files --cached --others --exclude-standard | while read -r file; do
		[[ -f $file && $(head -c 2 "$file") == '#!' ]] && echo "$file"
	done)
	return $code
}

step() {
	local title=$1
	shift
	hack/step.sh "$title" -- "$@" || failed+=("$title")
}

# step.sh starts programs, so each part calls this script again.
case ${2:-all} in
modules) go_modules ;;
scripts) shell_scripts ;;
all)
	step "Linting every Go module" "$0" "$bin" modules
	step "Measuring functions and files" "$bin/sizes" -root .
	step "Checking shell scripts" "$0" "$bin" scripts
	if ((${#failed[@]} > 0)); then
		printf 'lint: %s: see the findings above\n' "${failed[@]}" >&2
		echo "lint: \`make fmt\` mends formatting; an exception is a //nolint:linter // with its reason" >&2
		exit 1
	fi
	;;
esac
