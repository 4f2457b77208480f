// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command hello stands in for a program of ours in tests of image building.
package main

import "fmt"

var version = "none"

func main() { fmt.Println("hello", version) }
