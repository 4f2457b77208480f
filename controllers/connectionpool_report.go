// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	poolac "github.com/poolfleet/poolfleet/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/metrics"
	"github.com/poolfleet/poolfleet/internal/status"
)

// report says in the pool's status how it is, and when to look again. An error
// that a person can read there is not returned: it would be logged a second time.
func (r *ConnectionPoolReconciler) report(ctx context.Context, p *pass, err error) (reconcile.Result, error) {
	blocked := status.AsBlocked(err)
	if err != nil && blocked == nil {
		return reconcile.Result{}, err
	}
	facts := r.facts(p, blocked)
	want := r.statusOf(p, facts)
	if err := r.writeStatus(ctx, p.pool, want); err != nil {
		return reconcile.Result{}, err
	}
	if blocked == nil {
		r.tellServer(p)
		r.tellCertificate(p)
	}
	metrics.ObservePool(p.pool.Namespace, p.pool.Name, want)
	if p.revision != "" && p.revision != p.pool.Status.ConfigRevision {
		r.Signals.Upstream(ctx, p.record.Upstream)
	}
	return reconcile.Result{RequeueAfter: sooner(r.credentialsDue(p, r.again(p, blocked)), r.certificateDue(p))}, nil
}

// again is when the pass is due once more: at the next look at the server, or
// soon where nothing tells us that a cause is gone.
func (r *ConnectionPoolReconciler) again(p *pass, blocked *status.Blocked) time.Duration {
	if p.comparing || r.uncounted(p) {
		return settleInterval
	}
	if p.record.Interval == 0 || blocked != nil && blocked.Condition != poolv1.ConditionUpstreamObserved {
		return retryInterval
	}
	next := p.record.Interval - r.Clock.Since(p.record.ProbedAt)
	if c := p.record.Candidate; p.kept != nil && c.Problem != nil {
		next = min(next, c.Interval-r.Clock.Since(c.ProbedAt))
	}
	return max(next, quickest)
}

func (r *ConnectionPoolReconciler) facts(p *pass, blocked *status.Blocked) status.Facts {
	f := status.Facts{
		Generation: p.pool.Generation,
		Previous:   p.pool.Status.Conditions,
		Blocked:    blocked,
		Declared:   p.record.Declared,
		Observed:   p.record.Good != [32]byte{},
		Paused:     p.pool.Spec.State == poolv1.PoolPaused,
		Account:    r.accountFacts(p),
		Poolers:    poolersOf(p),
		Config:     r.configFacts(p),
		Edge:       p.edge,
	}
	if blocked == nil {
		f.Probe, f.Kept = p.record.Problem, p.kept
		f.Config.Kept, f.Config.Note = cmp.Or(p.lookup.kept, p.security.problem), p.security.note
	}
	return f
}

// uncounted reports whether the server's account has yet to take up that the pool
// wants poolers again: of one that wants none it says that nothing is left.
func (r *ConnectionPoolReconciler) uncounted(p *pass) bool {
	line, counted := accountOf(p.upstream, p.pool), r.Records.Counted(client.ObjectKeyFromObject(p.pool))
	said := valueOr(p.pool.Status.ObservedGeneration, 0) == p.pool.Generation // By the operator that ran before.
	return line != nil && entitled(line) == 0 && claims.Replicas(p.pool) > 0 && counted < p.pool.Generation && (counted > 0 || !said)
}

func (r *ConnectionPoolReconciler) accountFacts(p *pass) *status.Account {
	line := accountOf(p.upstream, p.pool)
	if line == nil || r.uncounted(p) {
		return nil
	}
	return &status.Account{
		Upstream: p.upstream.Name,
		Budget:   max(valueOr(p.upstream.Status.Capacity.Budget, 0)-valueOr(p.upstream.Status.Use.Deducted, 0), 0),
		Floor:    line.Floor, Minimum: line.Minimum, Entitled: entitled(line), Share: *line.Share, Granted: *line.Granted, Waiting: valueOr(line.Waiting, 0),
	}
}

// poolersOf counts pods as the Deployment does. Where the pass did not come to
// say how many there should be, the Deployment's own number stands.
func poolersOf(p *pass) *status.Poolers {
	d := p.deployment
	if d == nil {
		return nil
	}
	bounded := p.bounded
	if p.revision == "" && d.Spec.Replicas != nil {
		bounded = *d.Spec.Replicas
	}
	return &status.Poolers{
		Wanted: claims.Replicas(p.pool), Bounded: bounded,
		Replicas: d.Status.Replicas, Ready: d.Status.ReadyReplicas, Updated: d.Status.UpdatedReplicas,
		Current: d.Status.ObservedGeneration >= d.Generation,
	}
}

func (r *ConnectionPoolReconciler) configFacts(p *pass) status.Config {
	c := status.Config{Revision: cmp.Or(p.revision, p.pool.Status.ConfigRevision)}
	c.Same = c.Revision == p.pool.Status.ConfigRevision
	granted := entriesOf(p.upstream, p.pool)
	for i := range p.pods {
		pod := &p.pods[i]
		if !pod.DeletionTimestamp.IsZero() || granted[pod.UID] == 0 {
			continue // On its way out, where no configuration arrives any more, or not yet started.
		}
		r.countPod(&c, pod.UID)
	}
	return c
}

// countPod adds what a pod said last. One that was not asked yet, by an operator that
// has just started, may have said it to the one before.
func (r *ConnectionPoolReconciler) countPod(c *status.Config, pod types.UID) {
	c.Pods++
	ack, heard := r.Records.Ack(pod)
	switch {
	case heard && ack.Config == c.Revision:
		c.Applied++
	case !heard && !r.Records.Asked(pod):
		c.Unasked++
	}
	if ack.Paused {
		c.Paused++
	}
	// Always the same of several, in whichever order pods are listed.
	if ack.Problem != "" && (c.Problem == "" || ack.Problem < c.Problem) {
		c.Problem = ack.Problem
	}
}

// statusOf is the status as this pass leaves it. What the pass did not come to
// know stays as it was.
func (r *ConnectionPoolReconciler) statusOf(p *pass, facts status.Facts) poolv1.ConnectionPoolStatus {
	s := *p.pool.Status.DeepCopy()
	s.ObservedGeneration = new(p.pool.Generation)
	s.Conditions = status.Compute(facts, metav1.NewTime(r.Clock.Now().Truncate(time.Second)))
	s.Selector = manifests.SelectorText(p.pool.Name)
	if p.revision != "" {
		s.ConfigRevision, s.URLs, s.Credentials = p.revision, p.urls, clientCredentials(p)
		s.Binding = poolv1.SecretBinding{Name: manifests.PublishedSecretName(p.pool.Name, p.pool.Spec.Secret)}
	}
	if p.revision != "" && p.security.known {
		s.TLS = p.security.servedStatus()
	}
	if p.resolved {
		o := p.record.Observation
		s.Upstream = poolv1.ResolvedUpstream{
			Name: p.upstream.Name, Endpoint: p.record.Endpoint, Role: p.source.User, Database: p.source.Database,
			RoleConnectionLimit: o.RoleLimit, DatabaseConnectionLimit: o.DatabaseLimit,
		}
	}
	showEdge(p, &s)
	s.Lookup = missingLookup(p, s.Lookup)
	if a := facts.Account; a != nil {
		s.ServerConnections = poolv1.GrantedConnections{Granted: new(a.Granted), Share: new(a.Share), Entitled: new(a.Entitled)}
	}
	if p.deployment != nil {
		s.Replicas, s.ReadyReplicas = new(p.deployment.Status.Replicas), new(p.deployment.Status.ReadyReplicas)
	}
	return s
}

// writeStatus applies a status unless it stands already, and tells of the
// conditions that changed.
func (r *ConnectionPoolReconciler) writeStatus(ctx context.Context, pool *poolv1.ConnectionPool, want poolv1.ConnectionPoolStatus) error {
	if equality.Semantic.DeepEqual(pool.Status, want) {
		return nil
	}
	apply, err := statusApply(pool, want)
	if err != nil {
		return err
	}
	err = r.Status().Apply(ctx, apply, client.ForceOwnership, client.FieldOwner(manifests.PoolFieldOwner))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the pool's status: %w", err)
	}
	r.tell(ctx, pool, want.Conditions)
	r.tellEdge(pool, want.Conditions)
	return nil
}

// statusApply turns a status into an apply configuration. Both have one JSON form,
// and every field of the status is left out of it while empty.
func statusApply(pool *poolv1.ConnectionPool, want poolv1.ConnectionPoolStatus) (*poolac.ConnectionPoolApplyConfiguration, error) {
	data, err := json.Marshal(want)
	if err != nil {
		return nil, fmt.Errorf("encoding the pool's status: %w", err)
	}
	s := poolac.ConnectionPoolStatus()
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("encoding the pool's status: %w", err)
	}
	return poolac.ConnectionPool(pool.Name, pool.Namespace).WithStatus(s), nil
}

// tell makes an event of what a person would want to be told: the pool became
// ready, is no longer, or needs help. What is still on its way stands in the status.
func (r *ConnectionPoolReconciler) tell(ctx context.Context, pool *poolv1.ConnectionPool, conditions []metav1.Condition) {
	ready := meta.FindStatusCondition(conditions, poolv1.ConditionReady)
	before := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionReady)
	if ready == nil || before != nil && before.Status == ready.Status && before.Reason == ready.Reason {
		return
	}
	if r.Records.Told(occasion{pool: client.ObjectKeyFromObject(pool), what: poolv1.ConditionReady}, string(ready.Status)+"/"+ready.Reason) {
		return
	}
	stalled := meta.IsStatusConditionTrue(conditions, poolv1.ConditionStalled)
	wasReady := before != nil && before.Status == metav1.ConditionTrue
	logger := log.FromContext(ctx)
	if ready.Status != metav1.ConditionTrue && !stalled && !wasReady {
		logger.V(1).Info("On the way to ready", "reason", ready.Reason, "message", ready.Message)
		return
	}
	logger.Info("Ready changed", "ready", ready.Status, "reason", ready.Reason, "message", ready.Message)
	kind := corev1.EventTypeWarning
	if !stalled && asAsked(*ready) {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(pool, nil, kind, ready.Reason, "Reconcile", "%s", ready.Message)
}

// asAsked reports whether a pool is as its spec asks: ready, unless it is to be otherwise.
func asAsked(ready metav1.Condition) bool {
	return ready.Status == metav1.ConditionTrue || poolv1.Holds(ready.Reason) || ready.Reason == poolv1.ReasonScaledToZero
}
