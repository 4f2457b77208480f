#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Runs the tests of every package under the race detector whose tests link no
# Kubernetes library. The detector needs all dependencies compiled anew; for the
# others that would take longer than it tells.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t packages < <(go list -test -f '{{if eq .Name "main"}}{{.ImportPath}} {{join .Deps " "}}{{end}}' ./... |
	grep -E '^[^ ]+\.test ' | grep -v ' k8s\.io/' | sed 's/\.test .*//')
if ((${#packages[@]} == 0)); then
	echo "no package is free of Kubernetes libraries: the list above is wrong" >&2
	exit 1
fi
# The detector is linked in by a C compiler, which a fresh Debian does not have.
if ! command -v gcc >/dev/null; then
	echo "installing gcc and libc6-dev for the race detector"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null
fi
CGO_ENABLED=1 go test -race -timeout 20m "${packages[@]}"
