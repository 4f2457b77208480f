#!/usr/bin/env bash
# SPDX-FileCopyrightText: The Poolfleet Authors
# SPDX-License-Identifier: Apache-2.0

# Brings the npm packages of the projects with Prisma 5, 6 and 7 that hack/e2e/edge
# follows the recipe for Accelerate with.
#
#   hack/prisma-projects.sh DIR    DIR gets a folder with node_modules for each
set -euo pipefail
cd "$(dirname "$0")/.."
projects=$PWD/hack/e2e/edge/testdata/accelerate
dir=$1

hack/npm.sh "run Prisma's clients"
for project in "$projects"/prisma*; do
	mkdir -p "$dir/${project##*/}"
	cp "$project"/package*.json "$dir/${project##*/}"
	(cd "$dir/${project##*/}" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
done
