// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// fieldManager is who the API server says has written. Its name does not begin with
// kubectl: Flux takes fields away from managers whose names do.
const fieldManager = "poolfleet-cli"

// lookEvery is how often a pool that is waited for is read.
const lookEvery = 500 * time.Millisecond

// waiting are the flags of commands that wait for what they asked for.
type waiting struct {
	off     bool
	timeout time.Duration
}

func (w *waiting) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.off, "no-wait", false, "ask for it and return")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 10*time.Minute, "how long to wait; what was asked for goes on after it")
}

func newPauseCommand(env *environment) *cobra.Command {
	return newStateCommand(env, poolv1.PoolPaused, &cobra.Command{
		Use:   "pause POOL",
		Short: "Hold every client at its next transaction",
		Long: `Hold every client at its next transaction, for instance while the server is
restarted, and wait until every pooler does. Open transactions end as usual, and
nobody is turned away. ` + "`kubectl poolfleet resume POOL`" + ` lets clients go on.`,
	})
}

func newResumeCommand(env *environment) *cobra.Command {
	return newStateCommand(env, poolv1.PoolRunning, &cobra.Command{
		Use:   "resume POOL",
		Short: "Let the clients of a paused pool go on",
		Long:  "Let the clients of a paused pool go on, and wait until clients can connect.",
	})
}

func newStateCommand(env *environment, state poolv1.PoolState, cmd *cobra.Command) *cobra.Command {
	var w waiting
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgsFunction = env.completePools
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if w.timeout <= 0 {
			return usageError("--timeout must be above 0: --no-wait does not wait")
		}
		return env.setState(cmd.Context(), args[0], state, w)
	}
	w.addFlags(cmd)
	return cmd
}

func (e *environment) setState(ctx context.Context, name string, state poolv1.PoolState, w waiting) error {
	s, err := e.session()
	if err != nil {
		return err
	}
	pool, err := s.pool(ctx, name)
	if err != nil {
		return err
	}
	before := pool.DeepCopy()
	pool.Spec.State = state
	if owner := gitOwner(pool); owner != "" && before.Spec.State != state {
		e.say("Note: %s manages this pool: where spec.state is in Git, it is set back at the next sync", owner)
	}
	if err := s.client.Patch(ctx, pool, client.MergeFrom(before), client.FieldOwner(fieldManager)); err != nil {
		return fmt.Errorf("setting spec.state of ConnectionPool %s: %w", name, err)
	}
	if w.off {
		return e.printState(pool)
	}
	reached := func(pool *poolv1.ConnectionPool) bool { return inState(pool, state) }
	if err := e.await(ctx, s, pool, w.timeout, reached); err != nil {
		return err
	}
	return e.printState(pool)
}

// inState reports whether every pooler does what the state asks. A pool without
// poolers has nothing to wait for.
func inState(pool *poolv1.ConnectionPool, state poolv1.PoolState) bool {
	ready := readyOf(pool)
	if ready.Reason == poolv1.ReasonScaledToZero {
		return true
	}
	if state == poolv1.PoolPaused {
		return ready.Reason == poolv1.ReasonPaused
	}
	return ready.Status == metav1.ConditionTrue
}

// await reads the pool until it is as wanted, and tells how it gets on.
func (e *environment) await(ctx context.Context, s *session, pool *poolv1.ConnectionPool, timeout time.Duration, reached func(*poolv1.ConnectionPool) bool) error {
	told, generation, asked := "", pool.Generation, pool.Spec.State
	err := wait.PollUntilContextTimeout(ctx, lookEvery, timeout, true, func(ctx context.Context) (bool, error) {
		if err := s.client.Get(ctx, client.ObjectKeyFromObject(pool), pool); err != nil {
			return false, fmt.Errorf("reading ConnectionPool %s: %w", pool.Name, err)
		}
		if pool.Generation != generation && pool.Spec.State != asked {
			return false, wrong("somebody has set spec.state to %s meanwhile%s", pool.Spec.State, perhaps(gitOwner(pool)))
		}
		if reached(pool) {
			return true, nil
		}
		if words := readyWords(pool); words != told {
			e.say("%s", words)
			told = words
		}
		return false, nil
	})
	if wait.Interrupted(err) || errors.Is(err, context.DeadlineExceeded) {
		return wrong("it is not done after %s, and goes on: %s", timeout, readyWords(pool))
	}
	return err
}

func perhaps(owner string) string {
	if owner == "" {
		return ""
	}
	return ": " + owner + " manages this pool"
}

// stateWord is what programs read.
type stateWord struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     string `json:"state"`
	Ready     string `json:"ready"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

func (e *environment) printState(pool *poolv1.ConnectionPool) error {
	ready := readyOf(pool)
	word := stateWord{
		Namespace: pool.Namespace, Name: pool.Name, State: string(pool.Spec.State),
		Ready: string(ready.Status), Reason: ready.Reason, Message: ready.Message,
	}
	return e.print(word, human("ConnectionPool "+pool.Name+": "+readyWords(pool)))
}

// gitOwners are the marks of tools that set objects back to what is in Git: parts of the
// keys of labels and annotations, and the names of field managers.
var gitOwners = []struct {
	name, mark string
	manager    *regexp.Regexp
}{
	{"Argo CD", "argocd.argoproj.io/", regexp.MustCompile("^argocd-")},
	{"Flux", "toolkit.fluxcd.io/", regexp.MustCompile("^(kustomize|helm)-controller$")},
}

// gitOwner names the tool that manages the pool's spec; empty where none is seen.
func gitOwner(pool *poolv1.ConnectionPool) string {
	var marks, managers []string
	marks = slices.AppendSeq(marks, maps.Keys(pool.Labels))
	marks = slices.AppendSeq(marks, maps.Keys(pool.Annotations))
	for _, entry := range pool.ManagedFields {
		managers = append(managers, entry.Manager)
	}
	for _, owner := range gitOwners {
		marked := func(key string) bool { return strings.Contains(key, owner.mark) }
		if slices.ContainsFunc(marks, marked) || slices.ContainsFunc(managers, owner.manager.MatchString) {
			return owner.name
		}
	}
	return ""
}
