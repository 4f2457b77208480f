#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Looks in every Go module of the repository for known vulnerabilities that its code
# reaches. Fails where one is found, and where the database can not be asked: then
# nothing was checked.
#
#   hack/vuln.sh BIN    BIN holds govulncheck; VULN_DB names another database, such as file:///copy
set -uo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
db=${VULN_DB:-https://vuln.go.dev}
found=()

for module in $(hack/modules.sh); do
	echo "    $module"
	said=$("$bin/govulncheck" -C "$module" -db "$db" ./... 2>&1)
	code=$?
	echo "$said"
	case $code in
	0) ;;
	3) found+=("$module") ;; # govulncheck's own code for findings.
	*)
		if [[ $said == *"fetching vulnerabilities"* ]]; then
			echo "vuln: the vulnerability database $db can not be reached: nothing was checked. Set VULN_DB to a copy of it" >&2
		else
			echo "vuln: $module could not be checked" >&2
		fi
		exit 1
		;;
	esac
done
if ((${#found[@]} > 0)); then
	echo "vuln: code of ${found[*]} reaches what is named above: upgrade it" >&2
	exit 1
fi
