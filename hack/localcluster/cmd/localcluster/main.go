// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command localcluster runs a real Kubernetes on this machine without Docker.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/cluster"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/node"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

const usage = `usage: localcluster COMMAND [flags] [arguments]

  up                     run the cluster, and wait until it takes pods
  down [--purge]         stop it; --purge removes its state as well
  load-image ARCHIVE...  load image archives into every node
  kubeconfig             print the path of the administrator's kubeconfig
  status                 tell what runs
  envtest-assets DIR     link etcd, kube-apiserver and kubectl into DIR for envtest

Flags of a command: localcluster COMMAND --help
`

func main() {
	if len(os.Args) == 3 && os.Args[1] == node.Command {
		exit(node.Main(os.Args[2]))
	}
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, os.Args[1], os.Args[2:]))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "localcluster: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, command string, args []string) error {
	flags := flag.NewFlagSet("localcluster "+command, flag.ExitOnError)
	settings := addFlags(flags)
	purge := flags.Bool("purge", false, "down: remove the state too, images included")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o, err := settings.options()
	if err != nil {
		return err
	}
	switch command {
	case "up":
		return cluster.Up(ctx, o)
	case "down":
		return cluster.Down(o, *purge)
	case "load-image":
		return cluster.LoadImages(ctx, o, flags.Args())
	case "status":
		return cluster.Status(o)
	case "kubeconfig":
		fmt.Println(o.Kubeconfig())
		return nil
	case "envtest-assets":
		return linkAssets(o.Kube, flags.Args())
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("there is no command %q", command)
}

type settings struct {
	number, nodes                           int
	state, nodeRoot, kube, pause, auditFile string
	fresh                                   bool
}

func addFlags(flags *flag.FlagSet) *settings {
	s := &settings{}
	flags.IntVar(&s.number, "number", 0, "which cluster: addresses and names derive from it (default: the one of --state, or the first that nobody has)")
	flags.IntVar(&s.nodes, "nodes", 1, "up: how many nodes there should be at least")
	flags.StringVar(&s.state, "state", ".cache/cluster", "the cluster's directory")
	flags.StringVar(&s.nodeRoot, "node-root", ".cache/rootfs/node", "root file system of the nodes")
	flags.StringVar(&s.kube, "kube", ".cache/bin/localkube", "the Kubernetes binary")
	flags.StringVar(&s.pause, "pause", ".cache/images/pause.tar", "archive of the pause image")
	flags.StringVar(&s.auditFile, "audit-policy", "", "up: a file that replaces the audit policy (writes, at level Metadata)")
	flags.BoolVar(&s.fresh, "fresh", false, "up: forget all objects and start anew; images stay")
	return s
}

func (s *settings) options() (cluster.Options, error) {
	var bad []error
	for _, path := range []*string{&s.state, &s.nodeRoot, &s.kube, &s.pause, &s.auditFile} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		*path = absolute
		bad = append(bad, err)
	}
	c, err := s.cluster()
	if s.nodes < 1 || s.nodes > plan.MaxNodes {
		bad = append(bad, fmt.Errorf("%d nodes is not between 1 and %d", s.nodes, plan.MaxNodes))
	}
	return cluster.Options{
		Cluster: c, State: s.state, Nodes: s.nodes, NodeRoot: s.nodeRoot, Kube: s.kube,
		Pause: s.pause, AuditPolicy: s.auditFile, Fresh: s.fresh, Out: os.Stderr,
	}, errors.Join(append(bad, err)...)
}

func (s *settings) cluster() (plan.Cluster, error) {
	if s.number == 0 {
		return cluster.Choose(s.state)
	}
	return plan.New(s.number)
}

// linkAssets makes what envtest looks for in KUBEBUILDER_ASSETS.
func linkAssets(kube string, args []string) error {
	if len(args) != 1 {
		return errors.New("envtest-assets takes one directory")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return fmt.Errorf("making envtest's assets: %w", err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		link := filepath.Join(args[0], name)
		if err := errors.Join(os.RemoveAll(link), os.Symlink(kube, link)); err != nil {
			return fmt.Errorf("making envtest's assets: %w", err)
		}
	}
	return nil
}
