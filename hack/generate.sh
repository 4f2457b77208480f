#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Writes everything that is made from other files of the repository:
#
#   from the API types      deepcopy functions, apply configurations, config/crd/bases
#   from RBAC markers       config/rbac/role.yaml
#   from these two          definitions and rules in the chart
#   from types, definitions
#   and config/samples      a page for each kind, in docs/reference
#
#   hack/generate.sh BIN    BIN holds controller-gen, chartgen and kindpages
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
header=headerFile=hack/boilerplate.go.txt

started=$(mktemp)
trap 'rm -f "$started"' EXIT

"$bin/controller-gen" "object:$header" paths=./api/...
"$bin/controller-gen" "applyconfiguration:$header" paths=./api/...
"$bin/controller-gen" crd paths=./api/... output:crd:dir=config/crd/bases
"$bin/controller-gen" rbac:roleName=poolfleet-manager paths=./controllers/... paths=./cmd/... \
	output:rbac:dir=config/rbac
# A type that is no more leaves no file behind.
find api/v1alpha1/applyconfiguration config/crd/bases -type f ! -newer "$started" -delete

"$bin/chartgen" -config config -chart charts/poolfleet
mkdir -p docs/reference
"$bin/kindpages" -config config -types api/v1alpha1 -out docs/reference
find docs/reference -type f ! -newer "$started" -delete
