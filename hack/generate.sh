#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Writes everything that is made from other files of the repository:
#
#   from the API types      deepcopy functions, apply configurations, config/crd/bases, docs/reference/api.md
#   from RBAC markers       config/rbac/role.yaml
#   from these two          definitions and rules in the chart
#
#   hack/generate.sh BIN    BIN holds controller-gen, crd-ref-docs and chartgen
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

mkdir -p docs/reference
"$bin/crd-ref-docs" --config hack/tools/api-reference.yaml --source-path api/v1alpha1 --renderer markdown \
	--log-level ERROR --output-path docs/reference/api.md
"$bin/chartgen" -config config -chart charts/poolfleet
