#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Runs every fuzz test of the product, one after the other. What breaks one is kept in
# its package's testdata/fuzz, and from then on is a seed that every test run tries.
#
#   hack/fuzz.sh 30s [PATTERN]    PATTERN chooses among names such as internal/edge/FuzzBody
set -euo pipefail
cd "$(dirname "$0")/.."
time=$1
pattern=${2:-.}

mapfile -t tests < <(grep -rEo --include='*_test.go' '^func Fuzz[[:alnum:]_]+' api cmd controllers internal |
	sed -E 's|/[^/]+_test\.go:func |/|' | sort | grep -E -- "$pattern" || true)
if ((${#tests[@]} == 0)); then
	echo "no fuzz test fits $pattern" >&2
	exit 1
fi
broken=()
for test in "${tests[@]}"; do
	echo "    $test"
	go test -run '^$' -fuzz "^${test##*/}\$" -fuzztime "$time" -fuzzminimizetime 10x "./${test%/*}" || broken+=("$test")
done
if ((${#broken[@]} > 0)); then
	printf 'fuzz: %s is broken; its package has what by in testdata/fuzz\n' "${broken[@]}" >&2
	exit 1
fi
