// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

// chooseSource reads what the Secrets say. Where that can not be used, or was never
// looked at with success, and poolers run already, what they run stays: it is looked
// at, scaled and renewed as before, and the status says what is wrong with the other.
func (r *ConnectionPoolReconciler) chooseSource(ctx context.Context, p *pass) error {
	err := r.readSource(ctx, p)
	if status.AsBlocked(err) == nil && err != nil {
		return err
	}
	digest, digestErr := sourceDigest(p.source, p.pool.Spec.Upstream)
	if digestErr != nil {
		return digestErr
	}
	if err == nil && p.record.Good == digest {
		return nil
	}
	running, ok, readErr := r.running(ctx, p.pool)
	switch {
	case readErr != nil:
		return readErr
	case !ok:
		return err
	case err != nil:
		p.source, p.proven, p.kept = running, true, status.AsBlocked(err)
		return nil
	case running == p.source:
		p.proven = true
		return nil
	}
	return r.tryOut(ctx, p, running, digest)
}

// tryOut looks at a source that is to take the place of the one that poolers run, and
// leaves that in use until the look is good.
func (r *ConnectionPoolReconciler) tryOut(ctx context.Context, p *pass, running postgres.Source, digest [32]byte) error {
	candidate := p.record.Candidate
	now := r.Clock.Now()
	if candidate.Source != digest {
		candidate = Candidate{Source: digest, Since: now}
	}
	if now.Sub(candidate.ProbedAt) >= candidate.Interval {
		seen := r.probe(ctx, p, digest)
		if seen.Problem == nil || ctx.Err() != nil {
			return r.take(ctx, p, seen, now)
		}
		longest := retryInterval
		if p.pool.Spec.Upstream.Probe == poolv1.ProbeWhenInUse {
			longest = defaultProbeInterval
		}
		candidate.ProbedAt, candidate.Problem = seen.ProbedAt, seen.Problem
		candidate.Interval = jittered(retryAfter(seen.ProbedAt.Sub(candidate.Since), longest))
	}
	p.record.Candidate = candidate
	r.Records.SetPool(client.ObjectKeyFromObject(p.pool), p.record)
	p.source, p.proven, p.kept = running, true, candidate.Problem
	return nil
}

// running is the source of the configuration that the pool's poolers have; ok is
// false where they have none. What poolers need not know, such as the parameters of
// drivers, is taken from what is published to applications.
func (r *ConnectionPoolReconciler) running(ctx context.Context, pool *poolv1.ConnectionPool) (source postgres.Source, ok bool, err error) {
	kept, err := r.readKept(ctx, pool)
	if err != nil || len(kept.document.PgBouncer.Databases) == 0 {
		return postgres.Source{}, false, err
	}
	config := kept.document.PgBouncer
	name := types.NamespacedName{Namespace: pool.Namespace, Name: manifests.PublishedSecretName(pool.Name, pool.Spec.Secret)}
	published, err := secretOf(ctx, r.Live, name, pool.UID)
	if err != nil {
		return postgres.Source{}, false, err
	}
	source, err = postgres.ParseSecret(published, publish.KeyDirectURL)
	if err != nil || source.Host != config.Server.Host || source.Port != config.Server.Port {
		source = postgres.Source{Host: config.Server.Host, Port: config.Server.Port}
	}
	if config.Server.User != "" {
		source.User, source.Password = config.Server.User, config.Server.Password
	}
	if source.Database == "" || len(pool.Spec.Databases) == 0 {
		source.Database = config.Databases[0].Database
	}
	source.TLSMode, source.CA = config.Server.TLSMode, config.Server.CA
	source.Certificate, source.Key = config.Server.Certificate, config.Server.Key
	return source, source.User != "", nil
}

// readSource reads what the pool's Secrets say of the server and of the way there.
func (r *ConnectionPoolReconciler) readSource(ctx context.Context, p *pass) error {
	ref := p.pool.Spec.Upstream.SecretRef
	data, err := r.readSecret(ctx, p.pool, ref.Name, "create it with the server's URL under DATABASE_URL")
	if err != nil {
		return err
	}
	source, err := postgres.ParseSecret(data, ref.Key)
	if err != nil {
		return blockedBy(err)
	}
	way, err := r.readWay(ctx, p.pool)
	if err != nil {
		return err
	}
	if p.source, err = source.InNamespace(p.pool.Namespace).WithTLS(way); err != nil {
		return blockedBy(err)
	}
	return nil
}

// readWay reads what spec.upstream.tls names.
func (r *ConnectionPoolReconciler) readWay(ctx context.Context, pool *poolv1.ConnectionPool) (way postgres.TLS, err error) {
	spec := pool.Spec.Upstream.TLS
	way.Mode = string(spec.Mode)
	if ref := spec.CASecretRef; ref.Name != "" {
		data, err := r.readSecret(ctx, pool, ref.Name, "create it with the certificate of the authority that signs for the server, or correct spec.upstream.tls.caSecretRef")
		if err != nil {
			return way, err
		}
		if way.CA, err = material(data, ref.Name, cmp.Or(ref.Key, certificates.AuthorityKey), "put the certificate of the server's authority there, or correct spec.upstream.tls.caSecretRef.key"); err != nil {
			return way, err
		}
	}
	if ref := spec.ClientCertSecretRef; ref.Name != "" {
		data, err := r.readSecret(ctx, pool, ref.Name, "create it, of type kubernetes.io/tls, with the certificate to show to the server, or correct spec.upstream.tls.clientCertSecretRef")
		if err != nil {
			return way, err
		}
		const remedy = "put the certificate to show to the server and its key there"
		if way.Certificate, err = material(data, ref.Name, corev1.TLSCertKey, remedy); err != nil {
			return way, err
		}
		if way.Key, err = material(data, ref.Name, corev1.TLSPrivateKeyKey, remedy); err != nil {
			return way, err
		}
	}
	return way, nil
}

// material is a key of a Secret that must hold something.
func material(data map[string][]byte, secret, key, remedy string) (string, error) {
	if value := strings.TrimSpace(string(data[key])); value != "" {
		return value + "\n", nil
	}
	return "", status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonKeyMissing, "Secret %s has no key %s, or it is empty: %s", secret, key, remedy)
}

// readSecret reads a Secret live: only its metadata is cached.
func (r *ConnectionPoolReconciler) readSecret(ctx context.Context, pool *poolv1.ConnectionPool, name, remedy string) (map[string][]byte, error) {
	var secret corev1.Secret
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: pool.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonSecretMissing, "Secret %s is not in namespace %s: %s", name, pool.Namespace, remedy)
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", name, err)
	}
	return secret.Data, nil
}

// blockedBy turns an error about the server into what the status says of it.
func blockedBy(err error) error {
	var e *postgres.Error
	if !errors.As(err, &e) {
		return err
	}
	reason := string(e.Reason)
	if e.Reason == postgres.Full {
		reason = poolv1.ReasonServerFull
	}
	return status.Block(poolv1.ConditionUpstreamObserved, reason, "%s", sentence(e.Message))
}

// sentence starts a message as conditions do.
func sentence(message string) string {
	return strings.ToUpper(message[:1]) + message[1:]
}

// tellServer tells, once, that what the Secrets say is not taken up, or that a standby
// was promoted. Poolers serve on, so that Ready does not tell of it.
func (r *ConnectionPoolReconciler) tellServer(p *pass) {
	problem := p.kept
	if seen := p.record.Problem; problem == nil && seen != nil && seen.Reason == poolv1.ReasonNotInRecovery {
		problem = seen
	}
	on := occasion{pool: client.ObjectKeyFromObject(p.pool), what: "server"}
	if r.Records.Tell(on, problem != nil, r.Clock.Now(), 0) {
		r.Recorder.Eventf(p.pool, nil, corev1.EventTypeWarning, problem.Reason, "Observe", "%s; poolers go on with what they have", problem.Message)
	}
}
