// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command demo goes from nothing to a query through a pooled URL, and shows on the
// way out that the pool holds the server's limit where clients by themselves do
// not. It installs with helm and kubectl, as a user would, and a second run finds
// everything in place.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	namespace = "demo"
	poolName  = "shop"
	database  = "shop"
	// upstreamSecret holds the server's URL, as a user would write it down.
	upstreamSecret = "shop-db"
	serverName     = "postgres"
)

// options are what the flags and KUBECONFIG say.
type options struct {
	bin, kubectl, helm, localcluster string
	imagesDir, chart, kubeconfig     string
	wait                             time.Duration
	clients                          int
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", ".cache/bin", "where programs are looked for before the PATH")
	flag.StringVar(&o.kubectl, "kubectl", "", "kubectl (default: found)")
	flag.StringVar(&o.helm, "helm", "", "helm (default: found)")
	flag.StringVar(&o.localcluster, "localcluster", "", "localcluster, for use without KUBECONFIG (default: found)")
	flag.StringVar(&o.imagesDir, "images-dir", ".cache/images", "what `make images` made")
	flag.StringVar(&o.chart, "chart", "charts/poolfleet", "the operator's chart")
	flag.DurationVar(&o.wait, "wait", 2*time.Minute, "how long the server and the pool may take to be ready, each")
	flag.IntVar(&o.clients, "clients", 200, "how many clients connect at once in the proof")
	flag.Parse()
	o.kubeconfig = os.Getenv("KUBECONFIG")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// run is the whole demo.
func run(ctx context.Context, o options, out *os.File) error {
	d := &demo{options: o, out: out}
	fmt.Fprintln(out, "Poolfleet: from nothing to a query through a pooled URL.")
	steps := []step{
		{"Kubernetes: " + d.clusterTitle(), "up to a minute the first time", d.startCluster},
		{"Images: operator, pooler and PostgreSQL into the nodes", "up to half a minute the first time", d.loadImages},
		{"Operator: the Helm chart into namespace poolfleet-system", "up to a minute the first time", d.installOperator},
		{"PostgreSQL: a server of its own in namespace demo", "up to half a minute the first time", d.startServer},
		{"Pool: Secret shop-db and ConnectionPool shop", "seconds", d.applyPool},
		{"Waiting for the pool to be Ready", "up to half a minute the first time", d.awaitPool},
		{fmt.Sprintf("Proof: %d clients at once, through the pool and without it", o.clients), "seconds", d.prove},
	}
	for i, s := range steps {
		if err := s.run(ctx, out, i+1, len(steps)); err != nil {
			return err
		}
	}
	return d.report(ctx)
}

// local reports whether the demo runs on the local cluster.
func (d *demo) local() bool {
	if d.kubeconfig == "" {
		return true
	}
	given, errGiven := filepath.Abs(d.kubeconfig)
	ours, errOurs := filepath.Abs(filepath.Join(filepath.Dir(d.bin), "cluster", "kubeconfig"))
	return errGiven == nil && errOurs == nil && given == ours
}
