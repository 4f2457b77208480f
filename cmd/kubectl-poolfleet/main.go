// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-poolfleet is the kubectl plugin: `kubectl poolfleet` runs it. It wires
// the commands of internal/cli to a terminal and decides nothing itself.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/poolfleet/poolfleet/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := cli.Run(ctx, version, os.Args[1:], streams)
	stop()
	os.Exit(code)
}
