// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

type topOptions struct {
	all      bool
	interval time.Duration
	limit    int
}

// busiest is what top tells.
type busiest struct {
	Pools   []poolView `json:"pools"`
	Poolers []busyPod  `json:"poolers"`
	Notes   []string   `json:"notes,omitempty"`
}

// busyPod is a pooler with its pool.
type busyPod struct {
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	poolerView
}

func newTopCommand(env *environment) *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The busiest pools and poolers",
		Long: `The busiest pools and poolers: those first whose clients wait for a server
connection, then those with the most queries a second, between two looks.`,
		Example: "  kubectl poolfleet top -A --interval 10s",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return env.top(cmd.Context(), o) },
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "the pools of all namespaces")
	cmd.Flags().DurationVar(&o.interval, "interval", time.Second, "time between two looks")
	cmd.Flags().IntVar(&o.limit, "limit", 10, "how many of each are shown; 0 is all")
	return cmd
}

func (e *environment) top(ctx context.Context, o topOptions) error {
	if o.interval <= 0 || o.limit < 0 {
		return usageError("--interval must be above 0, for instance 2s, and --limit 0 or more")
	}
	s, err := e.session()
	if err != nil {
		return err
	}
	which, err := s.scope(nil, o.all)
	if err != nil {
		return err
	}
	seen, err := s.look(ctx, which, o.interval)
	if err != nil {
		return err
	}
	busy := busiestOf(seen, o.limit)
	return e.print(busy, func(w io.Writer) error {
		if len(busy.Pools) == 0 {
			e.say("There is no ConnectionPool in %s", inWords(which.namespace))
		} else {
			e.tellTop(w, busy, o.all)
		}
		for _, note := range busy.Notes {
			e.say("%s", note)
		}
		return nil
	})
}

func busiestOf(seen *fleet, limit int) busiest {
	busy := busiest{Pools: slices.Clone(seen.Pools), Poolers: []busyPod{}, Notes: seen.Notes}
	for _, p := range seen.Pools {
		for _, pooler := range p.Poolers {
			busy.Poolers = append(busy.Poolers, busyPod{Namespace: p.Namespace, Pool: p.Name, poolerView: pooler})
		}
	}
	slices.SortStableFunc(busy.Pools, func(a, b poolView) int { return busier(a.traffic, b.traffic) })
	slices.SortStableFunc(busy.Poolers, func(a, b busyPod) int { return busier(a.traffic, b.traffic) })
	if limit > 0 {
		busy.Pools = busy.Pools[:min(limit, len(busy.Pools))]
		busy.Poolers = busy.Poolers[:min(limit, len(busy.Poolers))]
	}
	return busy
}

// busier orders those first whose clients wait, then those with more queries, then
// those with more clients; those last of which nothing is known.
func busier(a, b traffic) int {
	return cmp.Or(compareKnown(b.Waiting, a.Waiting), compareKnown(b.QueriesPerSecond, a.QueriesPerSecond), compareKnown(b.Clients, a.Clients))
}

func compareKnown[N int64 | float64](a, b *N) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(*a, *b)
}

func (e *environment) tellTop(w io.Writer, busy busiest, all bool) {
	name := func(namespace, name string) string {
		if all {
			return namespace + "/" + name
		}
		return name
	}
	pools := e.grid()
	pools.row("POOL", "WAIT", "Q/S", "MS", "CLIENTS", "GRANT")
	for _, p := range busy.Pools {
		pools.row(append([]string{name(p.Namespace, p.Name)}, busyCells(p.traffic, p.connections)...)...)
	}
	pools.write(w)
	fmt.Fprintln(w)
	poolers := e.grid()
	poolers.row("POOLER", "WAIT", "Q/S", "MS", "CLIENTS", "GRANT")
	for _, p := range busy.Poolers {
		poolers.row(append([]string{name(p.Namespace, p.Pod)}, busyCells(p.traffic, p.connections)...)...)
	}
	poolers.write(w)
}

func busyCells(t traffic, c connections) []string {
	return []string{whole(t.Waiting), rounded(t.QueriesPerSecond), rounded(t.LatencyMilliseconds), whole(t.Clients), whole(c.Granted)}
}
