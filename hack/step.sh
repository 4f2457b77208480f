#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Runs one step: says what it is and how long it may take, runs it with its output
# untouched, and says how long it took. When it fails, says what to do.
#
#   hack/step.sh "title" [--expect "about 6 minutes"] [--hint "what to do when it fails"] -- command...
set -u

title=$1
shift
expect="" hint=""
while [[ $# -gt 0 && $1 != -- ]]; do
	case $1 in
	--expect) expect=" ($2)" ;;
	--hint) hint=$2 ;;
	*)
		echo "step.sh: unknown option $1" >&2
		exit 2
		;;
	esac
	shift 2
done
shift

echo "==> $title$expect"
started=$SECONDS
"$@"
code=$?
took=$((SECONDS - started))
if ((code != 0)); then
	echo "==> FAILED after ${took} s (exit code $code): $title" >&2
	[[ -z $hint ]] || echo "    $hint" >&2
	exit "$code"
fi
echo "    done in ${took} s: $title"
