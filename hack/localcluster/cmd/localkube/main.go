// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build localkube

// Command localkube is a whole Kubernetes in one static binary. It decides
// nothing: it runs the upstream program that its own name, or its first
// argument, asks for. A build tag keeps it out of ./..., so that whoever checks
// this module does not load and analyse all of Kubernetes.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // cloud logins for kubectl and helm
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // registers --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // registers client-go metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // registers version metrics
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// applets are the programs inside, each never returning unless it is done.
var applets = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          component(apiserver.NewAPIServerCommand),
	"kube-controller-manager": component(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          component(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kube-proxy":              component(proxy.NewProxyCommand),
	"kubelet":                 component(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kubectl":                 runKubectl,
	"coredns":                 runCoreDNS,
	"helm":                    runHelm,
}

func main() {
	name, args := pick(os.Args)
	run, ok := applets[name]
	if !ok {
		names := slices.Sorted(maps.Keys(applets))
		fmt.Fprintf(os.Stderr, "usage: %s %s ...\n", filepath.Base(os.Args[0]), strings.Join(names, "|"))
		os.Exit(2)
	}
	os.Args = args
	if name != "coredns" {
		hideFlags("conf", "dns.port", "p", "pidfile", "plugins", "quiet", "version")
	}
	run()
}

// pick returns the applet's name and the arguments it is to see.
func pick(args []string) (string, []string) {
	name := filepath.Base(args[0])
	if _, ok := applets[name]; ok {
		return name, append([]string{name}, args[1:]...)
	}
	if len(args) < 2 {
		return "", nil
	}
	return args[1], args[1:]
}

// hideFlags takes CoreDNS's flags out of the global set: kube-proxy offers all
// of that set as its own, and its --version would be lost.
func hideFlags(names ...string) {
	global := flag.CommandLine
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	global.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(names, f.Name) {
			flag.CommandLine.Var(f.Value, f.Name, f.Usage)
		}
	})
}

func component(command func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(command())) }
}

func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
