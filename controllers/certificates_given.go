// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/status"
)

// givenCertificate returns the certificate of the Secret that spec.tls.secretRef names.
func (r *ConnectionPoolReconciler) givenCertificate(ctx context.Context, pool *poolv1.ConnectionPool, name string) (served, error) {
	secret, err := r.namedSecret(ctx, pool, name, "spec.tls.secretRef names")
	if err != nil {
		return served{}, err
	}
	return r.certificateIn(secret, poolv1.IssuerSecret)
}

// certificateIn reads a Secret of type kubernetes.io/tls.
func (r *ConnectionPoolReconciler) certificateIn(secret *corev1.Secret, issuer poolv1.CertificateIssuer) (served, error) {
	shown, now := served{issuer: issuer}, r.Clock.Now()
	var err error
	shown.Certificate, err = certificates.Parse(secret.Data[certificates.CertificateKey], secret.Data[certificates.PrivateKeyKey])
	if err == nil {
		err = shown.At(now)
	}
	if ca := secret.Data[certificates.AuthorityKey]; err == nil && len(ca) > 0 {
		shown.authority, err = certificates.Bundle(ca, certificates.AuthorityKey, now)
	}
	return shown, unusable(secret.Name, "clients can not be shown its certificate", err)
}

// unusable turns what is wrong with a Secret's content into what the status says of it.
func unusable(secret, so string, err error) error {
	e, ok := errors.AsType[*certificates.Error](err)
	if !ok {
		return err
	}
	reason := poolv1.ReasonCertificateInvalid
	if e.Missing {
		reason = poolv1.ReasonCertificateMissing
	}
	return status.Block(poolv1.ConditionConfigApplied, reason, "Of Secret %s %s: %s", secret, so, e.Message)
}

// namedSecret reads a Secret that the spec names for TLS to clients.
func (r *ConnectionPoolReconciler) namedSecret(ctx context.Context, pool *poolv1.ConnectionPool, name, by string) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: pool.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateMissing,
			"Secret %s, which %s, is not in namespace %s: create it", name, by, pool.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", name, err)
	}
	return &secret, nil
}

// authoritiesOfClients returns the authorities that certificates of clients must come
// from; inForce where those that the spec names can not be used.
func (r *ConnectionPoolReconciler) authoritiesOfClients(ctx context.Context, p *pass, inForce string) (string, error) {
	ref := p.pool.Spec.TLS.ClientCASecretRef
	if ref.Name == "" {
		return "", nil
	}
	bundle, err := r.bundleIn(ctx, p.pool, ref)
	problem := status.AsBlocked(err)
	if problem == nil || inForce == "" {
		return bundle, err
	}
	problem = status.Block(problem.Condition, problem.Reason, "%s; the last good authority stays in use", problem.Message)
	p.security.problem = cmp.Or(p.security.problem, problem)
	return inForce, nil
}

func (r *ConnectionPoolReconciler) bundleIn(ctx context.Context, pool *poolv1.ConnectionPool, ref poolv1.SecretKeyReference) (string, error) {
	secret, err := r.namedSecret(ctx, pool, ref.Name, "spec.tls.clientCASecretRef names")
	if err != nil {
		return "", err
	}
	key := cmp.Or(ref.Key, certificates.AuthorityKey)
	if _, found := secret.Data[key]; !found && len(secret.Data) > 0 {
		return "", status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateMissing,
			"Secret %s has no key %s, which holds the authority of clients: put it there, or name one of its keys (%s) in spec.tls.clientCASecretRef.key",
			secret.Name, key, strings.Join(slices.Sorted(maps.Keys(secret.Data)), ", "))
	}
	bundle, err := certificates.Bundle(secret.Data[key], key, r.Clock.Now())
	return bundle, unusable(secret.Name, "the certificates of clients can not be verified", err)
}

// publishedAuthority is what clients were told to verify the certificate in force with.
func (r *ConnectionPoolReconciler) publishedAuthority(ctx context.Context, pool *poolv1.ConnectionPool) (string, error) {
	if pool.Status.Binding.Name == "" {
		return "", nil
	}
	key := types.NamespacedName{Namespace: pool.Namespace, Name: pool.Status.Binding.Name}
	data, err := secretOf(ctx, r.Live, key, pool.UID)
	return string(data[certificates.AuthorityKey]), err
}
