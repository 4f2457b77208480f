// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// report is what the demo ends with.
func (d *demo) report(ctx context.Context) error {
	pool, err := d.pool(ctx)
	if err != nil {
		return err
	}
	var upstream poolv1.Upstream
	if err := d.client.Get(ctx, types.NamespacedName{Name: pool.Status.Upstream.Name}, &upstream); err != nil {
		return fmt.Errorf("reading the upstream: %w", err)
	}
	table, err := d.tools.Run(ctx, "", d.tools.Kubectl, "get",
		"connectionpools.poolfleet.dev,upstreams.poolfleet.dev", "--namespace", namespace)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n$ kubectl -n %s get connectionpools,upstreams\n%s", namespace, table)
	fmt.Fprintf(d.out, "\nThe URLs, with their passwords in the Secret %s:\n", pool.Status.Binding.Name)
	fmt.Fprintf(d.out, "  pooled  %s\n  direct  %s\n", pool.Status.URLs.Pooled, pool.Status.URLs.Direct)
	fmt.Fprintf(d.out, "\nThe budget:\n%s", indent(arithmetic(upstream.Status.Capacity, pool)))
	d.printProof(*upstream.Status.Capacity.MaxConnections)
	d.printNext()
	return nil
}

// arithmetic says in words how the server's limit leads to what the pool may open.
func arithmetic(c poolv1.Capacity, pool *poolv1.ConnectionPool) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%4d  max_connections, as the server says\n", *c.MaxConnections)
	fmt.Fprintf(&text, "- %2d  kept back by the server for superusers\n", *c.SuperuserReserved)
	if *c.Reserved > 0 {
		fmt.Fprintf(&text, "- %2d  kept back by the server for pg_use_reserved_connections\n", *c.Reserved)
	}
	fmt.Fprintf(&text, "- %2d  left to migrations, people and exporters\n", *c.Direct)
	fmt.Fprintf(&text, "= %2d  for all pools on this server, however many pods they have\n", *c.Budget)
	if granted := pool.Status.ServerConnections.Granted; granted != nil && pool.Status.ReadyReplicas != nil {
		fmt.Fprintf(&text, "%4d  of them granted to this pool's %d poolers\n", *granted, *pool.Status.ReadyReplicas)
	}
	return text.String()
}

func (d *demo) printProof(maxConnections int32) {
	fmt.Fprintf(d.out, "\n%d clients at once (%s):\n", d.clients, d.dialer.Way())
	fmt.Fprintf(d.out, "  %-24s %8s %8s %8s   %s\n", "", "served", "refused", "seconds", "most backends at once")
	for _, p := range d.results {
		fmt.Fprintf(d.out, "  %-24s %8d %8d %8.1f   %d of max_connections %d\n",
			p.way, p.Served, p.Refused, p.Elapsed.Seconds(), p.seen.Largest, maxConnections)
		p.explain(d.out)
	}
}

// explain tells of clients that neither were served nor met a full server, and of
// connections that were there before them.
func (p proof) explain(out io.Writer) {
	if p.seen.First > 1 {
		fmt.Fprintf(out, "  %-24s the server had %d backends before these clients came: an earlier run's, kept by the pool\n", "", p.seen.First)
	}
	if p.Failed > 0 {
		fmt.Fprintf(out, "  %d more clients failed, one of them so: %v\n", p.Failed, p.Err)
	}
}

func (d *demo) printNext() {
	fmt.Fprintln(d.out, "\nTry next:")
	if d.local() {
		fmt.Fprintf(d.out, "  export KUBECONFIG=%s PATH=%s:$PATH\n", d.tools.Kubeconfig, filepath.Dir(d.tools.Kubectl))
	}
	fmt.Fprint(d.out, `  kubectl -n demo scale connectionpools.poolfleet.dev/shop --replicas=4   # the same budget, divided anew
  kubectl get upstreams -o yaml                                           # the ledger: which pod may hold what
  kubectl explain connectionpools.poolfleet.dev.spec                      # everything else a pool can be told
`)
}
