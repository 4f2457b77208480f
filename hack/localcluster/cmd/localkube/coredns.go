// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build localkube

package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"       // listens on the node's address only
	_ "github.com/coredns/coredns/plugin/cache"      // remembers answers
	_ "github.com/coredns/coredns/plugin/errors"     // logs what went wrong
	_ "github.com/coredns/coredns/plugin/kubernetes" // cluster.local
	_ "github.com/coredns/coredns/plugin/log"        // logs queries when asked to
	_ "github.com/coredns/coredns/plugin/ready"      // tells when it may be asked
	_ "github.com/coredns/coredns/plugin/template"   // a name for the host, and NXDOMAIN for the rest of the world
)

func runCoreDNS() { coremain.Run() }
