// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// plan is what a file would do to the budgets of its servers.
type plan struct {
	// Fits is absent where a server's budget is not known.
	Fits    *bool        `json:"fits,omitempty"`
	Servers []serverPlan `json:"servers"`
	Notes   []string     `json:"notes,omitempty"`
}

func newPlanCommand(env *environment) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "plan -f FILE",
		Short: "What a change would do to the budget, before it is applied",
		Long: `What a change would do to the budget, before it is applied.

The API server checks the ConnectionPools of the file without storing them. Then
the operator's own arithmetic says how many connections each pool of the server
is entitled to before and after, with nothing lent. Objects of other kinds are
passed over. Where the file leaves spec.replicas out, an autoscaler's stands.

The exit code is 1 where the change does not fit: a pool would get nothing, or
the minimums come to more than the budget.`,
		Example: "  kubectl poolfleet plan -f pools.yaml\n  helm template . | kubectl poolfleet plan -f -",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return env.plan(cmd.Context(), file) },
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "file with ConnectionPools; - is the input")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // The flag was added above.
	}
	return cmd
}

func (e *environment) plan(ctx context.Context, file string) error {
	manifests, err := readManifests(file, e.streams.In)
	if err != nil {
		return err
	}
	s, err := e.session()
	if err != nil {
		return err
	}
	made, err := s.plan(ctx, manifests)
	if err != nil {
		return err
	}
	if err := e.print(made, func(w io.Writer) error { e.tellPlan(w, made); return nil }); err != nil {
		return err
	}
	if made.Fits != nil && !*made.Fits {
		return errTold
	}
	return nil
}

func (s *session) plan(ctx context.Context, manifests []manifest) (*plan, error) {
	plans, err := s.rehearse(ctx, manifests)
	if err != nil {
		return nil, err
	}
	upstreams, note, err := s.upstreams(ctx)
	if err != nil {
		return nil, err
	}
	if note != "" {
		return nil, &exitError{code: exitUnasked, err: fmt.Errorf("a plan needs the servers' accounts, and you may not list upstreams.poolfleet.dev: ask an administrator of the cluster for the right to do it")}
	}
	pools, restricted, err := s.everyPool(ctx)
	if err != nil {
		return nil, err
	}
	s.locate(ctx, plans, pools, upstreams)
	made := &plan{Servers: []serverPlan{}}
	if restricted {
		made.Notes = append(made.Notes, "You may not list the pools of all namespaces: what those of others ask for is taken from the servers' accounts, without their maximums.")
	}
	fits, known := true, true
	for _, g := range grounds(plans, pools, upstreams, restricted) {
		one := g.divide()
		if g.upstream == nil {
			one.Unknown = g.plans[0].unknown
		}
		fits, known = fits && len(one.Problems) == 0, known && one.Budget != nil
		made.Servers = append(made.Servers, one)
	}
	if known || !fits {
		made.Fits = &fits
	}
	return made, nil
}

// everyPool lists the pools of the cluster, or of the namespace where more is not allowed.
func (s *session) everyPool(ctx context.Context) (pools []poolv1.ConnectionPool, restricted bool, err error) {
	pools, err = s.pools(ctx, scope{})
	if apierrors.IsForbidden(err) {
		pools, err = s.pools(ctx, scope{namespace: s.namespace})
		restricted = true
	}
	return pools, restricted, err
}

func (e *environment) tellPlan(w io.Writer, made *plan) {
	for _, server := range made.Servers {
		e.tellServerPlan(w, server)
		fmt.Fprintln(w)
	}
	for _, note := range made.Notes {
		e.say("%s", note)
	}
	style := e.style()
	switch {
	case made.Fits == nil:
		fmt.Fprintln(w, style.warn("Whether it fits is not known before the operator has seen the server."))
	case *made.Fits:
		fmt.Fprintln(w, style.good("It fits."))
	default:
		fmt.Fprintln(w, style.bad("It does not fit."))
	}
}

func (e *environment) tellServerPlan(w io.Writer, s serverPlan) {
	switch {
	case s.Upstream == "":
		wrap(w, "The server is not known yet: "+s.Unknown)
	case s.Budget == nil:
		wrap(w, fmt.Sprintf("Upstream %s: its capacity is not known yet", s.Upstream))
	default:
		wrap(w, "Upstream "+s.Upstream)
	}
	if s.Budget != nil {
		wrap(w, fmt.Sprintf("Budget %d; minimums %d before, %d after", *s.Budget, s.MinimumsBefore, s.MinimumsAfter))
	} else {
		wrap(w, fmt.Sprintf("Its pools need %d connections for all their poolers and minimums", s.Needed))
	}
	fmt.Fprintln(w)
	table := e.grid()
	table.row("POOL", "POOLERS", "EACH", "MIN", "MAX", "BEFORE", "AFTER", "CHANGE")
	for _, p := range s.Pools {
		table.row(p.fullName(), fmt.Sprint(p.Poolers), fmt.Sprint(p.EachNeeds), blank(p.Minimum), blank(p.Maximum),
			whole(p.Before), whole(p.After), p.difference())
	}
	table.write(w)
	for _, text := range s.Problems {
		wrap(w, e.style().bad("Does not fit: ")+text)
	}
	for _, text := range s.Warnings {
		wrap(w, e.style().warn("Warning: ")+text)
	}
}

// difference is how much more or less the pool is entitled to.
func (p poolPlan) difference() string {
	switch {
	case p.Change == changeNew, p.Change == changeLeave:
		return p.Change
	case p.Before == nil || p.After == nil || *p.After == *p.Before:
		return ""
	}
	return signed(*p.After - *p.Before)
}
