// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/status"
)

// serverAccount is what budget tells of one server.
type serverAccount struct {
	Name     string                `json:"name"`
	Server   poolv1.ServerIdentity `json:"server,omitzero"`
	Address  []string              `json:"addresses,omitempty"`
	Capacity poolv1.Capacity       `json:"capacity"`
	Use      poolv1.ServerUse      `json:"use"`
	// Budget is what pools may take now: the capacity's, less what others use.
	Budget  *int32 `json:"budget,omitempty"`
	Granted int32  `json:"granted"`
	Held    int32  `json:"held"`
	// Free may still be granted.
	Free  *int32     `json:"free,omitempty"`
	Pools []poolLine `json:"pools"`
	Words []string   `json:"words,omitempty"`
	// Failing are the conditions that do not hold.
	Failing []metav1.Condition `json:"failing,omitempty"`
}

// poolLine is a pool in its server's account.
type poolLine struct {
	poolv1.PoolAccount
	// Borrowed is what is lent to it beyond what it is entitled to; below 0 it lends.
	Borrowed int32                `json:"borrowed"`
	Poolers  []poolv1.LedgerEntry `json:"poolers"`
}

func newBudgetCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "budget [UPSTREAM]",
		Short: "A server's account: who holds what, who waits, who lends",
		Long: `A server's account: how its connections divide between pools and others, which
pool and pooler holds how many, who waits and who lends. Without a name, the
accounts of all servers.

The exit code is 1 while a server of pools can not be reached, more is held than
fits, or a pooler waits for connections.`,
		Example:           "  kubectl poolfleet budget\n  kubectl get upstreams",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: env.completeUpstreams,
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.budget(cmd.Context(), args)
		},
	}
}

func (e *environment) budget(ctx context.Context, args []string) error {
	s, err := e.session()
	if err != nil {
		return err
	}
	upstreams, err := s.servers(ctx, args)
	if err != nil {
		return err
	}
	accounts := make([]serverAccount, 0, len(upstreams))
	troubled := false
	for i := range upstreams {
		accounts = append(accounts, accountOf(&upstreams[i]))
		troubled = troubled || accounts[i].troubled()
	}
	err = e.print(accounts, func(w io.Writer) error {
		if len(accounts) == 0 {
			e.say("There is no Upstream: the operator makes one when the first ConnectionPool names a server")
		}
		for i, account := range accounts {
			if i > 0 {
				fmt.Fprintln(w)
			}
			e.tellAccount(w, account)
		}
		return nil
	})
	if err == nil && troubled {
		return errTold
	}
	return err
}

// servers are the Upstream that is named, or all.
func (s *session) servers(ctx context.Context, args []string) ([]poolv1.Upstream, error) {
	if len(args) == 0 {
		var list poolv1.UpstreamList
		if err := s.client.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("listing Upstreams: %w", err)
		}
		slices.SortFunc(list.Items, func(a, b poolv1.Upstream) int { return strings.Compare(a.Name, b.Name) })
		return list.Items, nil
	}
	var upstream poolv1.Upstream
	err := s.client.Get(ctx, client.ObjectKey{Name: args[0]}, &upstream)
	if apierrors.IsNotFound(err) {
		return nil, wrong("there is no Upstream %s: `kubectl poolfleet budget` shows all, and a ConnectionPool's status.upstream.name names its own", args[0])
	}
	if err != nil {
		return nil, fmt.Errorf("reading Upstream %s: %w", args[0], err)
	}
	return []poolv1.Upstream{upstream}, nil
}

func accountOf(upstream *poolv1.Upstream) serverAccount {
	s := upstream.Status
	a := serverAccount{
		Name: upstream.Name, Server: s.Server, Capacity: s.Capacity, Use: s.Use, Granted: number(s.Granted),
		Pools: []poolLine{}, Words: status.AccountWords(s.Account), Failing: failing(s.Conditions),
	}
	for _, e := range s.Endpoints {
		a.Address = append(a.Address, e.Address)
	}
	for _, e := range s.Ledger {
		a.Held += number(e.Held)
	}
	if s.Capacity.Budget != nil {
		a.Budget = new(max(*s.Capacity.Budget-number(s.Use.Deducted), 0))
		a.Free = new(max(*a.Budget-a.Held, 0))
	}
	for _, p := range s.Pools {
		a.Pools = append(a.Pools, poolLine{
			PoolAccount: p, Borrowed: number(p.Share) - number(cmp.Or(p.Entitled, p.Share)), Poolers: entriesOf(s.Ledger, p.Namespace, p.Name),
		})
	}
	return a
}

func entriesOf(ledger []poolv1.LedgerEntry, namespace, pool string) []poolv1.LedgerEntry {
	return slices.DeleteFunc(slices.Clone(ledger), func(e poolv1.LedgerEntry) bool { return e.Namespace != namespace || e.Pool != pool })
}

// troubled is whether somebody should look. What others take is theirs, and a server
// that no pool uses may be gone.
func (a serverAccount) troubled() bool {
	if meta.IsStatusConditionFalse(a.Failing, poolv1.ConditionReachable) && len(a.Pools) > 0 ||
		meta.IsStatusConditionFalse(a.Failing, poolv1.ConditionWithinBudget) {
		return true
	}
	return slices.ContainsFunc(a.Pools, func(p poolLine) bool { return number(p.Waiting) > 0 })
}

func (e *environment) tellAccount(w io.Writer, a serverAccount) {
	title := "Upstream " + a.Name
	if a.Server.Version != "" {
		title += ", PostgreSQL " + a.Server.Version
	}
	if len(a.Address) > 0 {
		title += ", at " + strings.Join(a.Address, ", ")
	}
	wrap(w, title)
	for _, c := range a.Failing {
		wrap(w, fmt.Sprintf("%s is %s: %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	if a.Budget == nil {
		fmt.Fprintln(w, "Its capacity is not known yet.")
		return
	}
	fmt.Fprintln(w)
	a.arithmetic(w)
	if len(a.Pools) > 0 {
		fmt.Fprintln(w)
		e.tellHolders(w, a)
	}
	if len(a.Words) > 0 {
		fmt.Fprintln(w)
	}
	for _, word := range a.Words {
		wrap(w, word)
	}
}

// arithmetic is the sum that leads to the budget, and what became of it.
func (a serverAccount) arithmetic(w io.Writer) {
	entry := func(n int32, words string) { fmt.Fprintf(w, "%8d  %s\n", n, words) }
	less := func(n int32, words string) {
		if n > 0 {
			entry(-n, words)
		}
	}
	c := a.Capacity
	source := "max_connections of the server"
	if c.Source == poolv1.CapacityDeclared {
		source = "declared by spec.upstream.maxConnections of a pool"
	}
	entry(number(c.MaxConnections), source)
	less(number(c.SuperuserReserved), "superuser_reserved_connections")
	less(number(c.Reserved), "reserved_connections")
	less(number(c.Direct), "direct: left to others than pools")
	less(number(c.MaxConnections)-number(c.Withheld)-number(c.Budget), "above the ceiling spec.maxServerConnections")
	less(number(a.Use.Deducted), "foreign: others have them now, and direct stays free beside")
	fmt.Fprintf(w, "%8s\n", "----")
	entry(*a.Budget, "budget of all pools")
	entry(-a.Held, "held by poolers")
	fmt.Fprintf(w, "%8s\n", "----")
	entry(*a.Free, "free to grant")
	if a.Use.Connections != nil {
		fmt.Fprintln(w)
		entry(*a.Use.Connections, fmt.Sprintf("in use at the server, %d of them foreign", number(a.Use.Others)))
	}
}

func (e *environment) tellHolders(w io.Writer, a serverAccount) {
	table := e.grid()
	table.row("POOL / POOLER", "WEIGHT", "MIN", "ENTITLED", "LOAN", "SHARE", "GRANT", "HELD", "WAIT")
	var granted, held, waiting int32
	for _, p := range a.Pools {
		table.row(p.Namespace+"/"+p.Name, fmt.Sprint(p.Weight), blank(p.Minimum), whole(p.Entitled), signed(p.Borrowed),
			whole(p.Share), whole(p.Granted), whole(p.Held), blank(number(p.Waiting)))
		for _, entry := range p.Poolers {
			table.row("  "+entry.Pod, "", "", "", "", "", whole(entry.Granted), whole(entry.Held), "")
		}
		granted, held, waiting = granted+number(p.Granted), held+number(p.Held), waiting+number(p.Waiting)
	}
	table.row("all", "", "", "", "", "", fmt.Sprint(granted), fmt.Sprint(held), blank(waiting))
	table.write(w)
}

// blank leaves out a nought that says nothing.
func blank(n int32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// signed shows what is borrowed with a plus and what is lent with a minus.
func signed(n int32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%+d", n)
}
