// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

const (
	// defaultProbeInterval is how often a server is asked for its limits.
	defaultProbeInterval = 60 * time.Second
	// retryInterval is how long a failed look waits for the next: nothing tells us
	// when a database was mended.
	retryInterval = 10 * time.Second
)

// pass is one reconciliation of one pool: what was read, and what was made of it.
type pass struct {
	pool       *poolv1.ConnectionPool
	source     postgres.Source
	record     Record
	upstream   *poolv1.Upstream
	deployment *appsv1.Deployment
	pods       []corev1.Pod
	// resolved is true once upstream is known to be the server of source.
	resolved bool
	// comparing is true while looks are awaited that tell which server it is.
	comparing bool
	// revision of the configuration that was applied; empty when none was.
	revision string
	urls     poolv1.PublishedURLs
	bounded  int32
	// clientTLS is how clients reach the poolers, and clientCA what they can verify the
	// certificate with, in PEM; empty where they have to know themselves.
	clientTLS pgbouncer.ClientTLS
	clientCA  string
	// security is what else is known of TLS to clients.
	security clientSecurity
	// lookup is how users are looked up, in that authentication mode.
	lookup userLookup
	// keyring is what clients may log in with, as wish asks; rotated is true where
	// applications can read another credential than before.
	keyring publish.Keyring
	wish    publish.Wish
	rotated bool
}

// observe reads what the pass needs: the Secret, the server, its Upstream.
func (r *ConnectionPoolReconciler) observe(ctx context.Context, p *pass) error {
	key := client.ObjectKeyFromObject(p.pool)
	p.record = r.Records.Pool(key)
	if err := r.readKnown(ctx, p); err != nil {
		return err
	}
	if err := r.readSource(ctx, p); err != nil {
		return err
	}
	if err := r.look(ctx, p); err != nil {
		return err
	}
	if err := r.resolve(ctx, p); err != nil {
		return err
	}
	if err := allowed(p); err != nil {
		return err
	}
	return r.seeLookup(ctx, p)
}

// readKnown reads what earlier passes led to, so that a pass that is stopped early
// can still say how the pool is.
func (r *ConnectionPoolReconciler) readKnown(ctx context.Context, p *pass) error {
	if err := r.readDeployment(ctx, p); err != nil {
		return err
	}
	var err error
	if p.pods, err = podsOf(ctx, r.Client, p.pool); err != nil {
		return err
	}
	name := upstreamOf(r.Records, p.pool)
	if name == "" {
		return nil
	}
	var upstream poolv1.Upstream
	err = r.Get(ctx, types.NamespacedName{Name: name}, &upstream)
	if err == nil {
		p.upstream = &upstream
	}
	return client.IgnoreNotFound(err)
}

func (r *ConnectionPoolReconciler) readDeployment(ctx context.Context, p *pass) error {
	var d appsv1.Deployment
	err := r.Get(ctx, types.NamespacedName{Namespace: p.pool.Namespace, Name: manifests.PooledName(p.pool.Name)}, &d)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the poolers' deployment: %w", err)
	}
	for _, owner := range d.OwnerReferences {
		if owner.UID == p.pool.UID {
			p.deployment = &d
		}
	}
	return nil
}

// look asks the server for its limits when it is time to. The record is kept
// either way. It returns an error when the pool can not go on with what is known.
func (r *ConnectionPoolReconciler) look(ctx context.Context, p *pass) error {
	digest, err := sourceDigest(p.source, p.pool.Spec.Upstream)
	if err != nil {
		return err
	}
	if r.due(ctx, p, digest) {
		began := r.Clock.Now()
		r.probe(ctx, p, digest)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("looking at the server: %w", err) // A manager that stops has learnt nothing.
		}
		r.Records.looks.note(client.ObjectKeyFromObject(p.pool), p.record, began)
		r.Records.SetPool(client.ObjectKeyFromObject(p.pool), p.record)
		r.Signals.Upstream(ctx, p.record.Upstream)
	}
	if p.record.Problem != nil && p.record.Good != digest {
		return p.record.Problem
	}
	return nil
}

// sourceDigest names what a look at the server depends on.
func sourceDigest(source postgres.Source, upstream poolv1.UpstreamSource) ([32]byte, error) {
	data, err := json.Marshal(struct {
		URL  string
		TLS  postgres.TLS
		Spec poolv1.UpstreamSource
	}{source.URL(), postgres.TLS{Mode: source.TLSMode, CA: source.CA, Certificate: source.Certificate, Key: source.Key}, upstream})
	if err != nil {
		return [32]byte{}, fmt.Errorf("digesting the source: %w", err)
	}
	return sha256.Sum256(data), nil
}

func (r *ConnectionPoolReconciler) due(ctx context.Context, p *pass, digest [32]byte) bool {
	if p.record.Source != digest || r.Records.looks.due(client.ObjectKeyFromObject(p.pool)) {
		return true
	}
	if r.Clock.Since(p.record.ProbedAt) < p.record.Interval {
		return false
	}
	if p.record.Problem == nil && p.pool.Spec.Upstream.Probe == poolv1.ProbeWhenInUse && !r.inUse(ctx, p.pool) {
		p.record.ProbedAt = r.Clock.Now() // Look again after another interval.
		r.Records.SetPool(client.ObjectKeyFromObject(p.pool), p.record)
		return false
	}
	return true
}

// probe looks at the server and notes what came of it.
func (r *ConnectionPoolReconciler) probe(ctx context.Context, p *pass, digest [32]byte) {
	observation, err := r.Observer.Observe(ctx, p.source)
	declared := declaredBy(p.pool)
	record := p.record
	if record.Endpoint != p.source.Endpoint() {
		record.Upstream = "" // Not known until it is resolved: what this look shows is not the old server's.
	}
	record.Source, record.ProbedAt, record.Endpoint = digest, r.Clock.Now(), p.source.Endpoint()
	record.Problem, record.Declared, record.Pooled = nil, nil, false
	pooled, why := pooler(p.source, observation, err)
	switch {
	case pooled && declared == nil:
		record.Problem = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonAlreadyPooled,
			"%s: name the server itself in the Secret, or set spec.upstream.maxConnections to what this pool may take", why)
	case pooled:
		record.Declared, record.Pooled, record.Observation = declared, true, postgres.Observation{}
	case err != nil && declared != nil && !answers(err):
		record.Declared, record.Observation = declared, postgres.Observation{}
	case err != nil:
		record.Problem = problemOf(err)
	case observation.InRecovery:
		record.Problem = status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonInRecovery,
			"The server is a standby and takes no writes: name the primary in the Secret, or promote this server")
	default:
		record.Observation, record.SeenAt = observation, record.ProbedAt
	}
	if record.Problem == nil {
		record.Good = digest
	}
	record.Interval = interval(p, record)
	p.record = record
}

func declaredBy(pool *poolv1.ConnectionPool) *int32 {
	if n := pool.Spec.Upstream.MaxConnections; n > 0 {
		return &n
	}
	return nil
}

// pooler reports whether something between us and the server pools connections.
func pooler(source postgres.Source, observation postgres.Observation, err error) (pooled bool, why string) {
	if pooled, why = source.LooksPooled(); pooled {
		return true, why
	}
	if err == nil && !observation.BackendPIDMatches {
		return true, "Another pooler answers at this address"
	}
	return false, ""
}

// answers reports whether the server was reached although the look failed: then
// its own word is to be had, and a number in the spec can't stand in for it.
func answers(err error) bool {
	var e *postgres.Error
	if !errors.As(err, &e) {
		return false
	}
	silent := []string{poolv1.ReasonHostUnknown, poolv1.ReasonUnreachable, poolv1.ReasonAddressForbidden}
	return !slices.Contains(silent, string(e.Reason))
}

func problemOf(err error) *status.Blocked {
	if b := status.AsBlocked(blockedBy(err)); b != nil {
		return b
	}
	return status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonUnreachable, "The look at the server did not succeed")
}

// interval is how long this look is good for, with a tenth of jitter so that many
// pools do not look at once.
func interval(p *pass, record Record) time.Duration {
	base := defaultProbeInterval
	if s := p.pool.Spec.Upstream.ProbeIntervalSeconds; s > 0 {
		base = time.Duration(s) * time.Second
	}
	if record.Problem != nil && p.pool.Spec.Upstream.Probe != poolv1.ProbeWhenInUse {
		base = min(base, retryInterval)
	}
	return base + time.Duration((rand.Float64()-0.5)*0.2*float64(base)) //nolint:gosec // Jitter needs no secrecy.
}

// inUse reports whether a pooler of the pool holds a server connection. A pod that
// does not answer might.
func (r *ConnectionPoolReconciler) inUse(ctx context.Context, pool *poolv1.ConnectionPool) bool {
	pods, err := podsOf(ctx, r.Client, pool)
	if err != nil {
		return true
	}
	key, err := statusKey(ctx, r.Live, pool.Namespace, pool.Name)
	if err != nil {
		return true
	}
	for _, pod := range pods {
		if pod.Status.PodIP == "" {
			continue
		}
		answer, err := r.Asker.Ask(ctx, pod.Status.PodIP, key)
		if err != nil || answer.Current > 0 {
			return true
		}
	}
	return false
}

// allowed checks the administrator's word on namespaces.
func allowed(p *pass) error {
	if p.upstream == nil || namespaceAllowed(p.upstream, p.pool.Namespace) {
		return nil
	}
	return status.Block(poolv1.ConditionBudgetGranted, poolv1.ReasonNamespaceNotAllowed,
		"Upstream %s does not let pools of namespace %s in: ask its administrator to add it to spec.allowedNamespaces", p.upstream.Name, p.pool.Namespace)
}

func namespaceAllowed(upstream *poolv1.Upstream, namespace string) bool {
	list := upstream.Spec.AllowedNamespaces
	return len(list) == 0 || slices.Contains(list, namespace)
}
