# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# One set of flags for every build, so that all of them share Go's build cache.
# No version control stamp: the same sources give the same binaries and images.
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0

# Relative, so that a part can be asked for by name: make .cache/bin/golangci-lint
CACHE := .cache
BIN := $(CACHE)/bin
STAMPS := $(CACHE)/stamps
ROOTFS := $(CACHE)/rootfs
IMAGES := $(CACHE)/images
CLUSTER_KUBECONFIG := $(CURDIR)/$(CACHE)/cluster/kubeconfig

# What integration tests run: PgBouncer and PostgreSQL, API server and etcd.
export POOLFLEET_ROOTFS := $(CURDIR)/$(ROOTFS)
export KUBEBUILDER_ASSETS := $(CURDIR)/$(CACHE)/envtest
export GOLANGCI_LINT_CACHE := $(CURDIR)/$(CACHE)/golangci-lint

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# One step at a time: each uses all processors, and its output stays in one piece.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

STEP := @hack/step.sh
CHECK := @hack/check.sh

# go_files lists what a build of the given directories depends on.
go_files = $(shell find $(wildcard $(1)) -name testdata -prune -o -type f ! -name '*_test.go' ! -name '*.md' -print)

PRODUCT := go.mod go.sum $(call go_files,api cmd controllers internal)
IMAGES_TOOL := $(call go_files,hack/images)
LOCALCLUSTER := $(call go_files,hack/localcluster)

##@ Try it

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nEverything made here lies under .cache, which may be deleted at any time after make cluster-down.\n'

# With KUBECONFIG set, the demo runs on that cluster and says how its nodes get the
# images; without, it starts the local cluster itself, from the parts made here.
ifndef KUBECONFIG
LOCAL := check-node $(STAMPS)/localcluster $(STAMPS)/rootfs-node
endif
.PHONY: demo
demo: $(LOCAL) $(STAMPS)/images $(BIN)/demo ## From nothing to a query through the pooled URL, on a local cluster or the one of KUBECONFIG
	@$(BIN)/demo

.PHONY: cluster-up
cluster-up: check-node $(STAMPS)/localcluster $(STAMPS)/rootfs-node $(STAMPS)/pause ## Start the local one-node Kubernetes: no Docker, nothing left on the host
	$(STEP) "Starting Kubernetes on this machine" --expect "up to half a minute" \
		--hint "every component's log is under .cache/cluster; \`make cluster-down\` clears what is left" -- \
		$(BIN)/localcluster up -pause $(IMAGES)/pause.tar

.PHONY: cluster-down
cluster-down: ## Stop the local cluster and remove every trace of it from the host
	@if [[ -x $(BIN)/localcluster ]]; then hack/step.sh "Stopping the local cluster" -- $(BIN)/localcluster down; \
	else echo "No local cluster was ever built here."; fi

##@ Test

# What failed is told once more at the end, after all that went well.
GOTEST := $(CURDIR)/$(BIN)/gotestsum

.PHONY: test
test: test-operator test-races test-modules ## Unit and integration tests, with real PostgreSQL, PgBouncer and API server

TEST_NEEDS := check-packages $(BIN)/gotestsum $(STAMPS)/rootfs-pgbouncer $(STAMPS)/rootfs-prometheus $(STAMPS)/accelerate-legacy $(STAMPS)/postgres-versions $(STAMPS)/localcluster

.PHONY: test-operator
test-operator: $(TEST_NEEDS)
	$(STEP) "Testing the operator" --expect "about 2 minutes after the first build" -- $(GOTEST) --format pkgname -- -timeout 20m ./...

.PHONY: test-races
test-races: $(TEST_NEEDS)
	$(STEP) "Looking for data races where no Kubernetes code is linked" -- hack/race.sh

# Modules of their own: none of what they need is a dependency of the operator.
MODULES := tools gitops images release localcluster
.PHONY: test-modules $(MODULES:%=test-hack-%)
test-modules: $(MODULES:%=test-hack-%)

$(MODULES:%=test-hack-%): test-hack-%: $(TEST_NEEDS)
	$(STEP) "Testing hack/$*" --expect "3 minutes the first time" -- go -C hack/$* test -tags rootfs ./...

.PHONY: e2e
e2e: cluster-up images $(BIN)/demo $(BIN)/kubectl-poolfleet $(BIN)/gotestsum $(STAMPS)/node-client $(STAMPS)/rootfs-postgres $(STAMPS)/rootfs-prometheus ## End-to-end tests on the local cluster, which stays up; then the demo, and the cluster's own tests
	$(STEP) "Running the end-to-end tests" --expect "about 25 minutes" \
		--hint "the cluster is still up: export KUBECONFIG=.cache/cluster/kubeconfig; logs are under .cache/cluster" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH $(GOTEST) --format standard-verbose -- -tags e2e -count=1 -timeout 45m ./hack/e2e
	$(STEP) "Running the demo, twice" --expect "a minute" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH bash -c '$(BIN)/demo && $(BIN)/demo'
	$(STEP) "Testing that clusters leave nothing behind" --expect "2 minutes" -- \
		go -C hack/localcluster test -tags e2e -count=1 -timeout 15m ./e2e

.PHONY: e2e-edge
e2e-edge: cluster-up images $(BIN)/gotestsum $(STAMPS)/workers $(STAMPS)/prisma-projects $(STAMPS)/accelerate $(STAMPS)/rootfs-pgbouncer $(STAMPS)/rootfs-postgres ## Workers in real workerd against pools on the local cluster, with the drivers their developers use; then Prisma's client compared with itself
	$(STEP) "Running Workers against the local cluster" --expect "about a minute" \
		--hint "the cluster is still up: export KUBECONFIG=.cache/cluster/kubeconfig; logs are under .cache/cluster" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH $(GOTEST) --format standard-verbose -- -tags e2e -count=1 -timeout 15m ./hack/e2e/edge
	$(STEP) "Comparing Prisma's client over the gateway with itself" --expect "a minute" -- \
		$(GOTEST) --format standard-verbose -- -tags e2e -count=1 -timeout 15m ./hack/e2e/accelerate

SOAK ?= 10m
SOAK_ROUNDS ?= 10
SOAK_CHECKS ?= 5000
SOAK_SOCKETS ?= 100000
SOAK_TRANSACTIONS ?= 10000
.PHONY: soak
soak: cluster-up images $(STAMPS)/node-client $(STAMPS)/accelerate-all $(STAMPS)/rootfs-pgbouncer $(STAMPS)/rootfs-postgres ## Disturb the budget for SOAK (10m), change a pool SOAK_ROUNDS times, lose a node, open SOAK_SOCKETS WebSockets, begin SOAK_TRANSACTIONS of Prisma's transactions, run the model SOAK_CHECKS times
	$(STEP) "Disturbing three pools on the local cluster for $(SOAK)" --expect "$(SOAK) and about 3 minutes" \
		--hint "the first line of the test says how to repeat its schedule" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH \
		go test -tags e2e -run '^TestOracle$$' -v -count=1 -timeout 60m ./hack/e2e -oracle.duration=$(SOAK)
	$(STEP) "Changing a pool in every way, $(SOAK_ROUNDS) times" --expect "4 minutes each" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH \
		go test -tags e2e -run '^TestFleet$$' -v -count=1 -timeout 120m ./hack/e2e -fleet.rounds=$(SOAK_ROUNDS)
	$(STEP) "Draining a node, and losing it for good" --expect "10 minutes" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH \
		go test -tags e2e,nodes -run '^TestNodes$$' -v -count=1 -timeout 30m ./hack/e2e -nodes.long
	$(STEP) "Opening $(SOAK_SOCKETS) short WebSockets at the gateway" --expect "7 minutes" -- \
		go test -run '^TestShortWebSockets' -v -count=1 -timeout 60m ./internal/edge -edge.sockets=$(SOAK_SOCKETS)
	$(STEP) "Beginning $(SOAK_TRANSACTIONS) interactive transactions, of which a third lose their client" --expect "2 minutes" -- \
		go test -run '^TestTransactionsOfClientsThatVanish' -v -count=1 -timeout 60m ./internal/edge/accelerate -edge.transactions=$(SOAK_TRANSACTIONS)
	$(STEP) "Comparing every version of Prisma's client over the gateway with itself" --expect "15 minutes" -- \
		go test -tags e2e -v -count=1 -timeout 60m ./hack/e2e/accelerate -accelerate.all
	$(STEP) "Running the model $(SOAK_CHECKS) times" -- \
		go test -run '^Test(TheBudget|Admission)' -v -count=1 -timeout 60m ./internal/model -rapid.checks=$(SOAK_CHECKS)

FUZZ_TIME ?= 30s
.PHONY: fuzz
fuzz: check-packages ## Look for input that breaks what reads strangers' words, FUZZ_TIME (30s) for each fuzz test
	$(STEP) "Running every fuzz test" --expect "$(FUZZ_TIME) each" \
		--hint "commit what is new in testdata/fuzz: it is a test from then on" -- hack/fuzz.sh $(FUZZ_TIME)

.PHONY: bench
bench: cluster-up images $(STAMPS)/accelerate $(STAMPS)/rootfs-pgbouncer $(STAMPS)/rootfs-postgres ## Measure: a pod against PgBouncer by hand, the gateway, query plans against Prisma's executor, admission, hand-overs and loans
	$(STEP) "Measuring on this machine" --expect "about 8 minutes" -- \
		go test -tags bench -v -count=1 -timeout 20m ./hack/bench/
	$(STEP) "Measuring on the local cluster" --expect "about 8 minutes" -- \
		env KUBECONFIG=$(CLUSTER_KUBECONFIG) PATH=$(CURDIR)/$(BIN):$$PATH go test -tags e2e,bench -run TestBench -v -count=1 -timeout 30m ./hack/e2e/

##@ Build

.PHONY: images
images: $(STAMPS)/images ## Container images of the operator, the pooler, the gateway and a PostgreSQL, as archives in .cache/images

VERSION ?= $(shell sed -n 's/^version: //p' charts/poolfleet/Chart.yaml)
REGISTRY ?=
RELEASE_ARCH ?= amd64,arm64
.PHONY: release
release: check-packages $(BIN)/images $(BIN)/release $(STAMPS)/localcluster ## Images, chart, manifests and plugin of VERSION with checksums and SBOMs, in .cache/release/VERSION; REGISTRY is where the images will be
	@hack/npm.sh "bring packages"
	$(STEP) "Making release $(VERSION)" --expect "about 10 minutes the first time" \
		--hint "a release is of a commit: commit what it names, or make it in a clean clone" -- \
		$(BIN)/release --version "$(VERSION)" --registry "$(REGISTRY)" --arch "$(RELEASE_ARCH)"

##@ Develop

.PHONY: generate
generate: $(BIN)/controller-gen $(BIN)/chartgen $(BIN)/kindpages ## Write deepcopy, apply configurations, CRDs, RBAC, chart parts and the API reference
	$(STEP) "Generating code, definitions, rules and the API reference" -- hack/generate.sh $(BIN)

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format every Go file
	$(STEP) "Formatting" -- $(BIN)/golangci-lint fmt --config .golangci.yml ./...

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/sizes ## Lint code, API types and scripts, and measure functions and files
	@hack/lint.sh $(BIN)

.PHONY: vuln
vuln: $(BIN)/govulncheck ## Look for known vulnerabilities in what our programs call; needs the Go vulnerability database, or VULN_DB with a copy
	$(STEP) "Looking for known vulnerabilities in every Go module" -- hack/vuln.sh $(BIN)

.PHONY: verify
verify: $(BIN)/controller-gen $(BIN)/chartgen $(BIN)/kindpages $(BIN)/golangci-lint ## Generate, format, compare modules, and fail if anything is not committed
	$(CHECK) go git
	@hack/verify.sh $(BIN)

# Tools, built from the versions pinned in hack/tools.

TOOLS_MODULE := hack/tools/go.mod hack/tools/go.sum

$(BIN)/golangci-lint: $(wildcard hack/tools/golangci/*)
	$(CHECK) go
	$(STEP) "Building golangci-lint with the Kubernetes linters" --expect "about 2 minutes the first time" -- \
		go -C hack/tools/golangci build -o $(CURDIR)/$@ .
	@touch $@

$(BIN)/controller-gen: TOOL := sigs.k8s.io/controller-tools/cmd/controller-gen
$(BIN)/kustomize: TOOL := sigs.k8s.io/kustomize/kustomize/v5
$(BIN)/kubeconform: TOOL := github.com/yannh/kubeconform/cmd/kubeconform
$(BIN)/gotestsum: TOOL := gotest.tools/gotestsum
$(BIN)/govulncheck: TOOL := golang.org/x/vuln/cmd/govulncheck
$(BIN)/chartgen: TOOL := ./chartgen
$(BIN)/kindpages: TOOL := ./kindpages
$(BIN)/sizes: TOOL := ./sizes
$(BIN)/chartgen: $(wildcard hack/tools/chartgen/*.go)
$(BIN)/kindpages: $(wildcard hack/tools/kindpages/*.go)
$(BIN)/sizes: $(wildcard hack/tools/sizes/*.go)

$(BIN)/controller-gen $(BIN)/kustomize $(BIN)/kubeconform $(BIN)/gotestsum $(BIN)/govulncheck $(BIN)/chartgen $(BIN)/kindpages $(BIN)/sizes: $(TOOLS_MODULE)
	$(CHECK) go
	$(STEP) "Building $(@F)" --expect "up to half a minute the first time" -- go -C hack/tools build -o $(CURDIR)/$@ $(TOOL)
	@touch $@

# Parts that tests and the cluster are made of.

.PHONY: check-packages check-node
check-packages:
	$(CHECK) go git linux root apt-get dpkg-deb

check-node:
	$(CHECK) go git linux root apt-get dpkg-deb

$(BIN)/images: $(IMAGES_TOOL)
	$(CHECK) go
	$(STEP) "Building the image tool" -- go -C hack/images build -o $(CURDIR)/$@ .
	@touch $@

$(BIN)/release: $(call go_files,hack/release)
	$(CHECK) go git
	$(STEP) "Building the release tool" -- go -C hack/release build -o $(CURDIR)/$@ .
	@touch $@

# Only code that unpacks packages makes a root file system stale.
$(STAMPS)/rootfs-%: $(call go_files,hack/images/internal/rootfs hack/images/internal/debian) | $(BIN)/images
	$(CHECK) linux root apt-get dpkg-deb
	$(STEP) "Unpacking Debian packages: $*" --expect "about a minute" \
		--hint "packages come from the sources that apt is set up with: does apt-get update work?" -- \
		$(BIN)/images rootfs --set $* --out $(ROOTFS)/$*
	@mkdir -p $(@D) && touch $@

# Tests run every PostgreSQL that is supported; Debian has the newest alone.
$(STAMPS)/postgres-versions: hack/postgres.sh hack/npm.sh hack/postgres-versions.txt $(STAMPS)/rootfs-postgres
	$(STEP) "Bringing PostgreSQL's older versions" --expect "about half a minute" \
		--hint "they are npm packages, from the registry that npm is set up with: does npm ping work?" -- \
		hack/postgres.sh $(ROOTFS)
	@mkdir -p $(@D) && touch $@

# End-to-end tests have clients in JavaScript, too.
$(STAMPS)/node-client: hack/node-client.sh hack/npm.sh $(wildcard hack/e2e/testdata/node-client/*.json)
	$(CHECK) apt-get root
	$(STEP) "Bringing node-postgres" --expect "seconds, with npm a minute" \
		--hint "it is an npm package, from the registry that npm is set up with: does npm ping work?" -- \
		hack/node-client.sh $(CACHE)/node-client
	@mkdir -p $(@D) && touch $@

# Workers, what runs them, and a Node.js for that.
$(STAMPS)/workers: hack/workers.sh hack/npm.sh $(shell find hack/e2e/edge/testdata/workers -type f)
	$(CHECK) apt-get root unshare mount
	$(STEP) "Bringing and bundling Workers" --expect "half a minute, with npm a minute" \
		--hint "packages come from the registry that npm is set up with: does npm ping work?" -- \
		hack/workers.sh $(CACHE)/workers
	@mkdir -p $(@D) && touch $@

# Projects with the major versions of Prisma; Workers' wrangler serves them, too.
$(STAMPS)/prisma-projects: hack/prisma-projects.sh hack/npm.sh $(wildcard hack/e2e/edge/testdata/accelerate/*/package*.json) $(STAMPS)/workers
	$(CHECK) apt-get root
	$(STEP) "Bringing Prisma 5, 6 and 7" --expect "seconds, with npm a minute" \
		--hint "packages come from the registry that npm is set up with: does npm ping work?" -- \
		hack/prisma-projects.sh $(CACHE)/prisma-projects
	@mkdir -p $(@D) && touch $@

# The one part of the product that is not Go, and the Node.js that tests run it with.
$(STAMPS)/accelerate-legacy: $(wildcard cmd/accelerate-legacy/*) $(STAMPS)/rootfs-nodejs
	$(STEP) "Bringing the packages of accelerate-legacy" --expect "seconds, with npm a minute" \
		--hint "packages come from the registry that npm is set up with: does npm ping work?" -- \
		bash -c 'hack/npm.sh "bring packages" && $(BIN)/images script --out $(ROOTFS)/accelerate-legacy accelerate-legacy'
	@mkdir -p $(@D) && touch $@

# Prisma's clients, for comparing them with themselves: the newest, or every version.
ACCELERATE := hack/accelerate.sh hack/npm.sh $(STAMPS)/workers $(shell find hack/e2e/accelerate/testdata -type f)
$(STAMPS)/accelerate: $(ACCELERATE)
	$(STEP) "Bringing Prisma's client, and bundling what to ask it" --expect "10 seconds, with npm half a minute" \
		--hint "packages come from the registry that npm is set up with: does npm ping work?" -- \
		hack/accelerate.sh $(CACHE)/workers $(CACHE)/accelerate
	@mkdir -p $(@D) && touch $@

$(STAMPS)/accelerate-all: $(ACCELERATE)
	$(STEP) "Bringing every version of Prisma's client" --expect "2 minutes, with npm 4" \
		--hint "packages come from the registry that npm is set up with: does npm ping work?" -- \
		hack/accelerate.sh $(CACHE)/workers $(CACHE)/accelerate all
	@mkdir -p $(@D) && touch $@

$(STAMPS)/images: $(PRODUCT) $(BIN)/images
	@hack/npm.sh "bring packages"
	$(STEP) "Building container images" --expect "about 2 minutes the first time" -- $(BIN)/images build --out $(IMAGES)
	@mkdir -p $(@D) && touch $@

# What every pod of the local cluster starts with; it holds none of the product.
$(STAMPS)/pause: $(BIN)/images
	$(STEP) "Building the pause image" -- $(BIN)/images build --out $(IMAGES) pause
	@mkdir -p $(@D) && touch $@

# localkube, localcluster, their other names kubectl and helm, and envtest's binaries.
$(STAMPS)/localcluster: $(LOCALCLUSTER)
	$(CHECK) go
	$(STEP) "Building Kubernetes for this machine" --expect "6 to 10 minutes the first time, seconds later" -- hack/localcluster/build.sh
	@mkdir -p $(@D) && touch $@

$(BIN)/demo: $(PRODUCT) $(call go_files,hack/e2e)
	$(CHECK) go
	$(STEP) "Building the demo" --expect "about a minute the first time" -- go build -o $@ ./hack/e2e/demo
	@touch $@

$(BIN)/kubectl-poolfleet: $(PRODUCT)
	$(CHECK) go
	$(STEP) "Building the kubectl plugin" --expect "about a minute the first time" -- go build -o $@ ./cmd/kubectl-poolfleet
	@touch $@
