// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// operator plays the operator: it answers each change of a pool with a status.
func operator(t *testing.T, answer func(*poolv1.ConnectionPool)) interceptor.Funcs {
	t.Helper()
	return interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		var options client.PatchOptions
		options.ApplyOptions(opts)
		if options.FieldManager != fieldManager {
			t.Errorf("the field manager is %q", options.FieldManager)
		}
		if err := c.Patch(ctx, o, p, opts...); err != nil {
			return err
		}
		pool, ok := o.(*poolv1.ConnectionPool)
		if !ok {
			return nil
		}
		told := pool.DeepCopy()
		answer(told)
		return c.Status().Update(ctx, told)
	}}
}

func holds(pool *poolv1.ConnectionPool) {
	ready(pool, metav1.ConditionFalse, poolv1.ReasonPaused, "2 of 2 poolers hold their clients")
}

func TestPauseReturnsOnceEveryPoolerHolds(t *testing.T) {
	pool, _ := shop()
	s := aStage(t, operator(t, holds), pool)
	if code := s.run(t, "pause", "shop"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	if got := s.read(t).Spec.State; got != poolv1.PoolPaused {
		t.Errorf("spec.state is %s", got)
	}
	if want := "ConnectionPool shop: Paused: 2 of 2 poolers hold their clients\n"; s.out.String() != want {
		t.Errorf("it says %q, want %q", s.out.String(), want)
	}
}

func (s *stage) read(t *testing.T) *poolv1.ConnectionPool {
	t.Helper()
	pool, err := s.session.pool(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestPauseSaysHowFarItIsWhenItsTimeIsOver(t *testing.T) {
	pool, _ := shop()
	s := aStage(t, operator(t, func(pool *poolv1.ConnectionPool) {
		ready(pool, metav1.ConditionFalse, poolv1.ReasonPausing, "1 of 2 poolers hold their clients")
	}), pool)
	s.exits(t, exitWrong, "it is not done after 1ms, and goes on: Pausing: 1 of 2", "pause", "shop", "--timeout", "1ms")
}

func TestPauseWithoutWaitingSaysWhatIsKnown(t *testing.T) {
	pool, _ := shop()
	s := aStage(t, operator(t, func(*poolv1.ConnectionPool) {}), pool)
	if code := s.run(t, "pause", "shop", "--no-wait", "-o", "json"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	var got stateWord
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.State != "Paused" || got.Name != "shop" || got.Namespace != "demo" {
		t.Errorf("it says %+v", got)
	}
}

func TestResumeReturnsOnceClientsCanConnect(t *testing.T) {
	pool, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Spec.State = poolv1.PoolPaused; holds(pool) })
	s := aStage(t, operator(t, func(pool *poolv1.ConnectionPool) {
		ready(pool, metav1.ConditionTrue, poolv1.ReasonAvailable, "Clients can connect")
	}), pool)
	if code := s.run(t, "resume", "shop"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	if got := s.read(t).Spec.State; got != poolv1.PoolRunning {
		t.Errorf("spec.state is %s", got)
	}
}

func TestAPoolWithoutPoolersHasNobodyToWaitFor(t *testing.T) {
	pool, _ := shop()
	s := aStage(t, operator(t, func(pool *poolv1.ConnectionPool) {
		ready(pool, metav1.ConditionFalse, poolv1.ReasonScaledToZero, "spec.replicas is 0")
	}), pool)
	if code := s.run(t, "pause", "shop"); code != exitFine {
		t.Errorf("exit code %d: %s", code, s.err.String())
	}
}

func TestPauseSaysWhoWillUndoIt(t *testing.T) {
	for owner, mark := range map[string]func(*poolv1.ConnectionPool){
		"Argo CD": func(pool *poolv1.ConnectionPool) {
			pool.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "shop:poolfleet.dev/ConnectionPool:demo/shop"}
		},
		"Flux": func(pool *poolv1.ConnectionPool) {
			pool.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "shop"}
		},
	} {
		pool, _ := shop(mark)
		aStage(t, operator(t, holds), pool).exits(t, exitFine, "Note: "+owner+" manages this pool", "pause", "shop")
	}
	byField, _ := shop(func(pool *poolv1.ConnectionPool) {
		pool.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "argocd-controller"}}
	})
	if got := gitOwner(byField); got != "Argo CD" {
		t.Errorf("the owner by managed fields is %q", got)
	}
	plain, _ := shop()
	s := aStage(t, operator(t, holds), plain)
	if s.run(t, "pause", "shop"); strings.Contains(s.err.String(), "manages") {
		t.Errorf("a pool that nobody manages is said to be: %s", s.err.String())
	}
}

func TestPauseSaysThatSomebodySetItBack(t *testing.T) {
	pool, _ := shop()
	s := aStage(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if err := c.Patch(ctx, o, p, opts...); err != nil {
			return err
		}
		back, ok := o.DeepCopyObject().(*poolv1.ConnectionPool)
		if !ok {
			return errors.New("it is no pool")
		}
		back.Generation, back.Spec.State = back.Generation+1, poolv1.PoolRunning
		return c.Update(ctx, back)
	}}, pool)
	s.exits(t, exitWrong, "somebody has set spec.state to Running meanwhile", "pause", "shop", "--timeout", time.Minute.String())
}

func TestPauseAndResumeRefuseBadInput(t *testing.T) {
	denied := interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "connectionpools"}, "shop", errors.New("no role"))
	}}
	pool, _ := shop()
	for _, command := range []string{"pause", "resume"} {
		aStage(t, interceptor.Funcs{}).exits(t, exitWrong, "no ConnectionPool nosuch", command, "nosuch")
		aStage(t, interceptor.Funcs{}).exits(t, exitUsage, "arg", command)
		aStage(t, interceptor.Funcs{}, pool).exits(t, exitUsage, "--timeout must be above 0", command, "shop", "--timeout", "0")
		aStage(t, denied, pool).exits(t, exitUnasked, "ask an administrator", command, "shop")
	}
}
