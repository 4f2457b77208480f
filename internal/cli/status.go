// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

type statusOptions struct {
	all, watch bool
	interval   time.Duration
}

func newStatusCommand(env *environment) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [POOL]",
		Short: "The fleet at a glance, or one pool's poolers",
		Long: `The fleet at a glance, or one pool's poolers.

GRANT, HELD and SHARE are server connections: what poolers may open now, what
they may still hold, and what they come to once all pools have settled. WAIT
counts clients that wait for one. Q/S and MS are queries a second and how long
the server took for one in the mean, between two looks.

The exit code is 1 while a pool is not ready.`,
		Example:           "  kubectl poolfleet status -A\n  kubectl poolfleet status shop --watch",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: env.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.status(cmd.Context(), args, o)
		},
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "the pools of all namespaces")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "refresh until interrupted")
	cmd.Flags().DurationVar(&o.interval, "interval", time.Second, "time between two looks")
	return cmd
}

func (e *environment) status(ctx context.Context, args []string, o statusOptions) error {
	if o.interval <= 0 {
		return usageError("--interval must be above 0, for instance 2s")
	}
	s, err := e.session()
	if err != nil {
		return err
	}
	which, err := s.scope(args, o.all)
	if err != nil {
		return err
	}
	if o.watch {
		return e.watch(ctx, s, which, o.interval)
	}
	return e.statusOnce(ctx, s, which, o.interval)
}

func (e *environment) statusOnce(ctx context.Context, s *session, which scope, interval time.Duration) error {
	seen, err := s.look(ctx, which, interval)
	if err != nil {
		return err
	}
	if err := e.tellStatus(seen, which); err != nil {
		return err
	}
	if slices.ContainsFunc(seen.Pools, func(p poolView) bool { return !p.Ready }) {
		return errTold
	}
	return nil
}

// watch goes on until it is interrupted, which is no error.
func (e *environment) watch(ctx context.Context, s *session, which scope, interval time.Duration) error {
	for {
		seen, err := s.look(ctx, which, interval)
		if err != nil {
			return unlessInterrupted(ctx, err)
		}
		if e.style().on {
			fmt.Fprint(e.streams.Out, "\x1b[H\x1b[2J") // The cursor to the corner, the screen empty.
		}
		if err := e.tellStatus(seen, which); err != nil {
			return err
		}
		if err := s.wait(ctx, interval); err != nil {
			return unlessInterrupted(ctx, err)
		}
	}
}

// unlessInterrupted is no error once the user has seen enough.
func unlessInterrupted(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

func (e *environment) tellStatus(seen *fleet, which scope) error {
	return e.print(seen, func(w io.Writer) error {
		switch {
		case which.name != "":
			e.tellPool(w, seen.Pools[0])
		case len(seen.Pools) == 0:
			e.say("There is no ConnectionPool in %s", inWords(which.namespace))
		default:
			e.tellFleet(w, seen.Pools, which.namespace == "")
		}
		for _, note := range seen.Notes {
			wrap(e.streams.ErrOut, note)
		}
		return nil
	})
}

func inWords(namespace string) string {
	if namespace == "" {
		return "the cluster"
	}
	return "namespace " + namespace + ": -A shows those of all"
}

func (e *environment) tellFleet(w io.Writer, pools []poolView, all bool) {
	table := e.grid()
	table.row("POOL", "READY", "PODS", "GRANT", "HELD", "SHARE", "CLIENTS", "WAIT", "Q/S", "MS")
	for _, p := range pools {
		name := p.Name
		if all {
			name = p.fullName()
		}
		cells := append([]string{name, yes(p.Ready), fmt.Sprintf("%d/%d", p.ReadyPoolers, p.DesiredPoolers)}, p.connections.cells()...)
		table.row(append(cells, p.traffic.cells()...)...)
	}
	table.write(w)
	for _, p := range pools {
		if !p.Ready {
			wrap(w, fmt.Sprintf("%s: %s: %s", p.fullName(), p.Reason, p.Message))
		}
	}
}

func (e *environment) tellPool(w io.Writer, p poolView) {
	wrap(w, fmt.Sprintf("%s: %s: %s", p.fullName(), e.verdict(p), p.Message))
	if p.Upstream != "" {
		wrap(w, fmt.Sprintf("server %s, Upstream %s", p.pool.Status.Upstream.Endpoint, p.Upstream))
	}
	if url := p.pool.Status.URLs.Pooled; url != "" {
		wrap(w, fmt.Sprintf("clients %s, with the password in Secret %s", url, p.pool.Status.Binding.Name))
	}
	for _, c := range failing(p.pool.Status.Conditions) {
		wrap(w, fmt.Sprintf("%s is %s: %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	fmt.Fprintln(w)
	table := e.grid()
	table.row("POOLER", "READY", "STATE", "GRANT", "HELD", "CLIENTS", "WAIT", "Q/S", "MS")
	for _, pod := range p.Poolers {
		cells := append([]string{pod.Pod, yes(pod.Ready), pod.State}, pod.connections.cells()[:2]...)
		table.row(append(cells, pod.traffic.cells()...)...)
	}
	sum := []string{"all", fmt.Sprintf("%d/%d", p.ReadyPoolers, p.DesiredPoolers), "", whole(p.Granted), whole(p.Held)}
	table.row(append(sum, p.traffic.cells()...)...)
	table.write(w)
}

func (e *environment) verdict(p poolView) string {
	if p.Ready {
		return e.style().good("ready")
	}
	return e.style().bad("not ready: " + p.Reason)
}

// grid is a table that shows what is bad.
func (e *environment) grid() *grid {
	style := e.style()
	return &grid{paint: map[string]func(string) string{"no": style.bad, "yes": style.good}}
}

func (c connections) cells() []string {
	return []string{whole(c.Granted), whole(c.Held), whole(c.Share)}
}

func (t traffic) cells() []string {
	return []string{whole(t.Clients), whole(t.Waiting), rounded(t.QueriesPerSecond), rounded(t.LatencyMilliseconds)}
}

// unknown stands for a figure that nobody told.
const unknown = "-"

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func whole[N int32 | int64](n *N) string {
	if n == nil {
		return unknown
	}
	return strconv.FormatInt(int64(*n), 10)
}

// rounded keeps two digits of small figures and none of large ones.
func rounded(n *float64) string {
	switch {
	case n == nil:
		return unknown
	case *n == 0:
		return "0"
	case *n < 10:
		return strconv.FormatFloat(*n, 'f', 2, 64)
	case *n < 100:
		return strconv.FormatFloat(*n, 'f', 1, 64)
	}
	return strconv.FormatFloat(*n, 'f', 0, 64)
}
