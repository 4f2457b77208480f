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

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/status"
)

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
		if way.CA, err = material(data, ref.Name, cmp.Or(ref.Key, caKey), "put the certificate of the server's authority there, or correct spec.upstream.tls.caSecretRef.key"); err != nil {
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

// caKey is where an authority stands in a Secret, as cert-manager has it.
const caKey = "ca.crt"

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
