#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Says what the machine lacks, all at once and before any work is done.
#
#   hack/check.sh NEED...    a NEED is a program's name, "root" or "linux"
set -u

missing=()
lacks() { missing+=("$1"); }

check_go() {
	local want have
	want=$(sed -n 's/^go //p' "$(dirname "$0")/../go.mod")
	if ! have=$(go env GOVERSION 2>/dev/null); then
		lacks "go $want or newer is not on the PATH: https://go.dev/dl"
		return
	fi
	if [[ $(printf '%s\n' "$want" "${have#go}" | sort -V | head -1) != "$want" ]]; then
		lacks "go $want or newer is needed, this is ${have#go}: https://go.dev/dl"
	fi
}

check() {
	case $1 in
	go) check_go ;;
	linux) [[ $(uname -s) == Linux ]] || lacks "Linux: namespaces and cgroups make the local cluster's node" ;;
	root) [[ $(id -u) == 0 ]] || lacks "root: run it with sudo, or in a throw-away virtual machine" ;;
	apt-get | dpkg-deb) command -v "$1" >/dev/null || lacks "$1: PostgreSQL and PgBouncer come from Debian packages, so this needs Debian or one of its children" ;;
	*) command -v "$1" >/dev/null || lacks "$1 is not on the PATH" ;;
	esac
}

for need in "$@"; do check "$need"; done
if ((${#missing[@]} > 0)); then
	echo "This machine lacks what the target needs:" >&2
	printf '  - %s\n' "${missing[@]}" >&2
	exit 1
fi
