// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command sizes keeps functions and files as small as we said they would be.
//
// It measures every Go module under a directory, apart from tests and generated
// files, prints a line per module, and fails when a bound is broken. A linter can
// only bound the largest function; what makes code readable is the usual one, so
// the median and the ninetieth percentile are bounded too.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	root := flag.String("root", ".", "directory whose modules are measured")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	modules, err := measure(root)
	if err != nil {
		return err
	}
	broken := 0
	for _, module := range modules {
		fmt.Println(module)
		for _, complaint := range module.complaints() {
			fmt.Println("  " + complaint)
			broken++
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d bounds broken: split what is named above", broken)
	}
	return nil
}
