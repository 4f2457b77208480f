// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/status"
)

const (
	// defaultProbeInterval is how often a server is asked for its limits.
	defaultProbeInterval = 60 * time.Second
	// retryInterval is how long at most a failed look waits for the next: nothing tells
	// us when a database was mended. The first wait quickRetry: while a password is
	// changed, its new owner and the database differ for a moment.
	retryInterval = 10 * time.Second
	quickRetry    = 1500 * time.Millisecond
	// quickest bounds how often a pool is reconciled for its looks.
	quickest = 500 * time.Millisecond
)

// look asks the server for its limits when it is time to. The record is kept
// either way. It returns an error when the pool can not go on with what is known.
func (r *ConnectionPoolReconciler) look(ctx context.Context, p *pass) error {
	digest, err := sourceDigest(p.source, p.pool.Spec.Upstream)
	if err != nil {
		return err
	}
	if r.due(ctx, p, digest) {
		began := r.Clock.Now()
		seen := r.probe(ctx, p, digest)
		if err := r.take(ctx, p, seen, began); err != nil {
			return err
		}
	}
	if p.record.Problem != nil && p.record.Good != digest && !p.proven {
		return p.record.Problem
	}
	return nil
}

// take makes what a look came to the pool's record.
func (r *ConnectionPoolReconciler) take(ctx context.Context, p *pass, seen Record, began time.Time) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("looking at the server: %w", err) // A manager that stops has learnt nothing.
	}
	p.record = seen
	key := client.ObjectKeyFromObject(p.pool)
	r.Records.looks.note(key, seen, began)
	r.Records.SetPool(key, seen)
	r.Signals.Upstream(ctx, seen.Upstream)
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

// probe looks at the server, and returns what the record is then. A server of another
// kind than is meant has been seen all the same.
func (r *ConnectionPoolReconciler) probe(ctx context.Context, p *pass, digest [32]byte) Record {
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
	default:
		record.Observation, record.SeenAt = observation, record.ProbedAt
		record.Problem = wrongKind(p.pool, observation)
		record.Behind = behind(p.pool, p.record, record)
	}
	record.judge(p.pool, digest)
	return record
}

// judge notes whether the newest look was good, and how long it counts.
func (r *Record) judge(pool *poolv1.ConnectionPool, digest [32]byte) {
	if r.Problem == nil {
		r.Good, r.Candidate = digest, Candidate{}
	}
	r.FailingSince = firstOf(r.FailingSince, r.Problem != nil, r.ProbedAt)
	r.Interval = jittered(interval(pool, *r))
}

// Behind is the server behind an address, as the newest good look showed it.
type Behind struct {
	Identity postgres.Identity
	// Incarnation is the name under which poolers know it.
	Incarnation string
	// Astray is the server of the wrong kind that was seen there since: connections that
	// poolers opened meanwhile lead to it. Unknown for none.
	Astray postgres.Identity
	// Returned names the look that showed the address to be back from there. Empty for
	// none since this process started.
	Returned string
}

// anyStandby is the Incarnation where the address may lead to any of several servers.
const anyStandby = "standby"

// behind tells whether poolers are to leave servers that they are connected to,
// because the address leads elsewhere now: a primary's to another server, and any
// back from a server of the wrong kind. A restart is none, nor is another of one
// server's addresses. Behind the address of standbys may be any of them.
func behind(pool *poolv1.ConnectionPool, before, now Record) Behind {
	is := before.Behind
	target, seen := pool.Spec.Upstream.TargetSessionAttributes, now.Observation.Identity()
	switch {
	case target == poolv1.TargetAny:
		return is
	case now.Problem != nil:
		is.Astray = seen
		return is
	case is.Astray.Known() && !seen.Same(is.Astray):
		is.Returned = strconv.FormatInt(now.ProbedAt.Unix(), 36)
	}
	is.Astray = postgres.Identity{}
	known := is.Identity
	is.Identity = seen
	switch {
	case target == poolv1.TargetReadOnly:
		is.Incarnation = anyStandby
	case is.Incarnation == "" || before.Endpoint != now.Endpoint || !seen.Same(known) && incarnation(seen) != incarnation(known):
		is.Incarnation = incarnation(seen)
	}
	return is
}

// name is the Incarnation that poolers are told, another one after every stray. They
// have been told of those before this process started.
func (b Behind) name(inForce string) string {
	switch {
	case b.Incarnation == "", b.Returned == "" && strings.HasPrefix(inForce, b.Incarnation+"-"):
		return inForce
	case b.Returned == "":
		return b.Incarnation
	}
	return b.Incarnation + "-" + b.Returned
}

// incarnation names a server by what a restart leaves as it is, so that a manager that
// starts anew gives the same name.
func incarnation(i postgres.Identity) string {
	if i.Address == "" {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", i.SystemIdentifier, i.Address, i.Port))
	return hex.EncodeToString(sum[:4])
}

// wrongKind says that a server is not of the kind that is meant.
func wrongKind(pool *poolv1.ConnectionPool, observation postgres.Observation) *status.Blocked {
	switch target := pool.Spec.Upstream.TargetSessionAttributes; {
	case observation.InRecovery && (target == poolv1.TargetReadWrite || target == ""):
		return status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonInRecovery,
			"The server is a standby and takes no writes: name the primary in the Secret, or promote this server; for reads alone set spec.upstream.targetSessionAttributes: read-only")
	case !observation.InRecovery && target == poolv1.TargetReadOnly:
		return status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonNotInRecovery,
			"The server is a primary, or was promoted, where a standby is meant: name a standby in the Secret, or set spec.upstream.targetSessionAttributes: any")
	}
	return nil
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

// interval is how long this look is good for. A server that sleeps when idle is not
// to be kept awake by failures.
func interval(pool *poolv1.ConnectionPool, record Record) time.Duration {
	base := defaultProbeInterval
	if s := pool.Spec.Upstream.ProbeIntervalSeconds; s > 0 {
		base = time.Duration(s) * time.Second
	}
	if record.Problem != nil && pool.Spec.Upstream.Probe != poolv1.ProbeWhenInUse {
		return min(base, retryAfter(record.ProbedAt.Sub(record.FailingSince), retryInterval))
	}
	return base
}

// retryAfter is when to look again at what has failed for a while: more and more
// seldom, about thirty times in the first minute.
func retryAfter(failing, longest time.Duration) time.Duration {
	return min(max(quickRetry, failing/20), longest)
}

// jittered is a tenth more or less, so that many pools do not look at once.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d)) //nolint:gosec // Jitter needs no secrecy.
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
