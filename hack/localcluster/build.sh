#!/bin/sh
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Builds localkube and localcluster into .cache/bin at the top of the checkout,
# with kubectl and helm as further names of localkube, and .cache/envtest for
# controller-runtime's envtest. The first build takes about 10 minutes of CPU.
set -eu
cd "$(dirname "$0")"
cache=$(cd ../.. && pwd)/.cache
bin=$cache/bin
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" # As everywhere, so that builds share a cache.
mkdir -p "$bin"

go build -ldflags '-s -w' -o "$bin/localcluster" ./cmd/localcluster

# The components tell their version from these; without them kubectl and
# charts' kubeVersion cannot parse it.
kube=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
helm=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
minor=${kube#v1.}
v=k8s.io/component-base/version
flags="-s -w -X $v.gitVersion=$kube -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*}"
flags="$flags -X $v.gitCommit=localkube -X $v.gitTreeState=clean -X $v.buildDate=1970-01-01T00:00:00Z"
flags="$flags -X helm.sh/helm/v4/internal/version.version=$helm"
go build -tags localkube -ldflags "$flags" -o "$bin/localkube" ./cmd/localkube

ln -sf localkube "$bin/kubectl"
ln -sf localkube "$bin/helm"
"$bin/localcluster" envtest-assets --kube "$bin/localkube" "$cache/envtest"
