// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/status"
)

// expiresSoon is how long before its end a certificate is spoken of.
const expiresSoon = 7 * 24 * time.Hour

// served is a certificate that clients are shown.
type served struct {
	certificates.Certificate

	issuer poolv1.CertificateIssuer
	// authority is what clients can verify it with, in PEM; empty where nobody said.
	authority string
}

// clientSecurity is what a pass came to know about TLS to clients, beside what goes
// into the document.
type clientSecurity struct {
	// known is true once the pass came so far.
	known bool
	// shown is nil where clients see no certificate.
	shown *served
	// problem is why what the spec names is not taken up: what was in force stays so.
	problem *status.Blocked
	// note is what a person should know about the certificate in force.
	note string
	// changed says why clients see another certificate than before; empty where they do not.
	changed string
}

// secureClients decides which certificate clients are shown and whose certificates
// they must show. What can not be used does not take the place of what was in force;
// where nothing was, the pool is blocked.
func (r *ConnectionPoolReconciler) secureClients(ctx context.Context, p *pass, inForce pgbouncer.ClientTLS) error {
	if err := r.withdrawCertificate(ctx, p.pool); err != nil {
		return err
	}
	p.clientTLS = pgbouncer.ClientTLS{Mode: string(clientTLSMode(p.pool))}
	if clientTLSMode(p.pool) == poolv1.ClientTLSDisable {
		p.security = clientSecurity{known: true}
		return nil
	}
	shown, err := r.certificateOf(ctx, p, inForce)
	if blocked := status.AsBlocked(err); blocked != nil {
		shown, err = r.lastGood(ctx, p, inForce, blocked)
	}
	if err != nil {
		return err
	}
	if p.clientTLS.CA, err = r.authoritiesOfClients(ctx, p, inForce.CA); err != nil {
		return err
	}
	p.clientTLS.Certificate, p.clientTLS.Key, p.clientCA = shown.Pair.Certificate, shown.Pair.Key, shown.authority
	p.security.known, p.security.shown, p.security.note = true, &shown, noteOn(shown, p.pool, r.Clock.Now())
	if before, err := parsePair(inForce); err == nil && !before.Leaf.Equal(shown.Leaf) {
		p.security.changed = whyRenewed(p.pool, before, shown)
	}
	return nil
}

func clientTLSMode(pool *poolv1.ConnectionPool) poolv1.ClientTLSMode {
	return cmp.Or(pool.Spec.TLS.Mode, poolv1.ClientTLSPrefer)
}

func parsePair(tls pgbouncer.ClientTLS) (certificates.Certificate, error) {
	return certificates.Parse([]byte(tls.Certificate), []byte(tls.Key))
}

// certificateOf returns the certificate that the spec asks for. What is wrong with
// it is a *status.Blocked.
func (r *ConnectionPoolReconciler) certificateOf(ctx context.Context, p *pass, inForce pgbouncer.ClientTLS) (served, error) {
	spec := p.pool.Spec.TLS
	switch {
	case spec.SecretRef.Name != "":
		return r.givenCertificate(ctx, p.pool, spec.SecretRef.Name)
	case spec.IssuerRef.Name != "":
		return r.issuedCertificate(ctx, p.pool)
	}
	return r.ownCertificate(ctx, p.pool, inForce)
}

// ownCertificate returns a certificate of the operator's authority: the one in force
// until it is due, has other names than it should, or comes from another authority.
func (r *ConnectionPoolReconciler) ownCertificate(ctx context.Context, pool *poolv1.ConnectionPool, inForce pgbouncer.ClientTLS) (served, error) {
	authority, err := r.authority(ctx)
	if err != nil {
		return served{}, err
	}
	names, now := r.namesOf(pool), r.Clock.Now()
	shown := served{issuer: poolv1.IssuerOperator, authority: authority.Pair.Certificate}
	shown.Certificate, err = parsePair(inForce)
	if err == nil && authority.Signed(shown.Leaf) && slices.Equal(shown.Leaf.DNSNames, names) && now.Before(renewAt(pool, shown.Leaf)) {
		return shown, nil
	}
	shown.Certificate, err = authority.Issue(rand.Reader, names, now)
	if e, ok := errors.AsType[*certificates.Error](err); ok {
		err = status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateInvalid,
			"Secret %s/%s, the operator's own authority, can not be used: %s", r.Settings.OperatorNamespace, AuthoritySecret, e.Message)
	}
	return shown, err
}

// namesOf are the names under which clients reach a pool.
func (r *ConnectionPoolReconciler) namesOf(pool *poolv1.ConnectionPool) []string {
	return certificates.ServiceNames(manifests.PooledName(pool.Name), pool.Namespace, r.Settings.ClusterDomain, pool.Spec.Service.ExternalHostname)
}

// lastGood is what clients were shown before, kept because of a problem.
func (r *ConnectionPoolReconciler) lastGood(ctx context.Context, p *pass, inForce pgbouncer.ClientTLS, problem *status.Blocked) (served, error) {
	before, err := parsePair(inForce)
	if err != nil {
		return served{}, problem
	}
	p.security.problem = status.Block(problem.Condition, problem.Reason, "%s; the last good certificate stays in use", problem.Message)
	authority, err := r.publishedAuthority(ctx, p.pool)
	return served{Certificate: before, issuer: p.pool.Status.TLS.Issuer, authority: authority}, err
}

// renewAt is when a certificate of the operator's own is due for renewal.
func renewAt(pool *poolv1.ConnectionPool, leaf *x509.Certificate) time.Time {
	return certificates.RenewAt(leaf, client.ObjectKeyFromObject(pool).String())
}

// noteOn says what clients of a certificate that is in force come to feel.
func noteOn(shown served, pool *poolv1.ConnectionPool, now time.Time) string {
	end := shown.Leaf.NotAfter.UTC().Format(time.DateOnly)
	host := cmp.Or(pool.Spec.Service.ExternalHostname, manifests.ServiceHost(pool.Name, pool.Namespace))
	switch {
	case now.After(shown.Leaf.NotAfter):
		return "the certificate in use expired on " + end + ": clients that verify it refuse it"
	case shown.Leaf.NotAfter.Sub(now) < expiresSoon:
		return "the certificate in use expires on " + end
	case !shown.Covers(host):
		return "the certificate in use is not for " + host + ": clients that verify the name refuse it"
	}
	return ""
}

// whyRenewed says why clients see another certificate than before.
func whyRenewed(pool *poolv1.ConnectionPool, before certificates.Certificate, now served) string {
	switch {
	case now.issuer != pool.Status.TLS.Issuer:
		return "It comes from another issuer, as spec.tls asks"
	case !slices.Equal(before.Leaf.DNSNames, now.Leaf.DNSNames):
		return "It has other names"
	case string(before.Leaf.RawIssuer) != string(now.Leaf.RawIssuer):
		return "It comes from another authority: clients that verify it need its ca.crt"
	}
	return "It is valid until " + now.Leaf.NotAfter.UTC().Format(time.DateOnly)
}

// servedStatus is the certificate as the status shows it.
func (s *clientSecurity) servedStatus() poolv1.ServedCertificate {
	if s.shown == nil {
		return poolv1.ServedCertificate{}
	}
	const most, longest = 64, 253 // By the CRD.
	names := slices.Sorted(slices.Values(s.shown.Leaf.DNSNames))
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" || len(name) > longest })
	end := metav1.NewTime(s.shown.Leaf.NotAfter)
	return poolv1.ServedCertificate{
		Issuer: s.shown.issuer, DNSNames: names[:min(len(names), most)], NotAfter: &end, Authority: shownAuthority(s.shown.authority),
	}
}

// shownAuthority leaves out what is too long for a status: half of it would verify
// nothing.
func shownAuthority(authority string) string {
	const longest = 65536 // By the CRD.
	if len(authority) > longest {
		return ""
	}
	return authority
}

// certificateDue is in how long something about the certificate changes that nothing
// else tells of; 0 is never.
func (r *ConnectionPoolReconciler) certificateDue(p *pass) time.Duration {
	if p.security.shown == nil {
		return 0
	}
	leaf, now := p.security.shown.Leaf, r.Clock.Now()
	moments := []time.Time{leaf.NotAfter.Add(-expiresSoon), leaf.NotAfter}
	if p.security.shown.issuer == poolv1.IssuerOperator {
		moments = append(moments, renewAt(p.pool, leaf))
	}
	if p.security.problem != nil {
		moments = append(moments, now.Add(retryInterval))
	}
	var wait time.Duration
	for _, moment := range moments {
		if moment.After(now) {
			wait = sooner(wait, max(moment.Sub(now), time.Second))
		}
	}
	return wait
}

// tellCertificate makes events of a new certificate, and of one that ends soon.
func (r *ConnectionPoolReconciler) tellCertificate(p *pass) {
	if p.security.changed != "" {
		r.Recorder.Eventf(p.pool, nil, corev1.EventTypeNormal, poolv1.EventCertificateRenewed, "Reconcile",
			"Clients see a new certificate. %s", p.security.changed)
	}
	now := r.Clock.Now()
	ending := p.security.shown != nil && p.security.shown.Leaf.NotAfter.Sub(now) < expiresSoon
	if r.Records.Tell(occasion{pool: client.ObjectKeyFromObject(p.pool), what: "its certificate ends"}, ending, now, 0) {
		r.Recorder.Eventf(p.pool, nil, corev1.EventTypeWarning, poolv1.EventCertificateExpires, "Reconcile", "%s", sentence(p.security.note))
	}
}
