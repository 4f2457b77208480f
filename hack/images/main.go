// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command images makes root file systems and container images out of Debian
// packages and our own binaries, without Docker and without a registry.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: images COMMAND [flags]

  rootfs --set NAME --out DIR   unpack a set of Debian packages into a root file system
  script --out LINK IMAGE       bring the script of an image and its npm packages, and link to the folder
  build --out DIR [IMAGE...]    build images as archives, and with --push send them to a registry
  digest --out DIR IMAGE        print the reference by digest of a built image

Flags of a command: images COMMAND --help
`

var commands = map[string]func(context.Context, []string) error{
	"rootfs": runRootfs,
	"script": runScript,
	"build":  runBuild,
	"digest": runDigest,
}

func main() {
	syscall.Umask(0o022) // Roots are read by users other than the one who makes them.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "images %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// say reports progress; standard output is for results.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "images: "+format+"\n", args...)
}
