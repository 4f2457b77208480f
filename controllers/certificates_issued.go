// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/status"
)

const (
	// issuerPatience is how long an issuer is expected to take.
	issuerPatience = time.Minute
	// maxIssuerWords bounds what of cert-manager's words goes into a status.
	maxIssuerWords = 400
)

// issuedCertificate asks cert-manager for a certificate and returns the one it has
// issued. cert-manager's kinds are not watched, because a cluster may not have them:
// its Secret is, and what it says is read with every pass.
func (r *ConnectionPoolReconciler) issuedCertificate(ctx context.Context, pool *poolv1.ConnectionPool) (served, error) {
	key := client.ObjectKeyFromObject(pool)
	name := manifests.CertificateName(pool.Name)
	r.withoutCertificate.Delete(key)
	err := r.Applier.Apply(ctx, pool, manifests.Certificate(manifests.FromPool(pool), pool.Spec.TLS.IssuerRef, r.namesOf(pool)))
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return served{}, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonIssuerMissing,
			"cert-manager, which spec.tls.issuerRef asks for a certificate, is not installed: the cluster has no %s", manifests.CertificateKind.GroupKind())
	}
	if blocked := status.AsBlocked(blockedByApply(err)); blocked != nil {
		return served{}, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateMissing, "%s", blocked.Message)
	}
	if err != nil {
		return served{}, err
	}
	secret, err := r.namedSecret(ctx, pool, name, "cert-manager puts the certificate into")
	if err != nil {
		if status.AsBlocked(err) == nil {
			return served{}, err
		}
		return served{}, r.notIssued(ctx, pool, name)
	}
	return r.certificateIn(secret, poolv1.IssuerCertManager)
}

// notIssued says why, in cert-manager's words.
func (r *ConnectionPoolReconciler) notIssued(ctx context.Context, pool *poolv1.ConnectionPool, name string) error {
	var c unstructured.Unstructured
	c.SetGroupVersionKind(manifests.CertificateKind)
	if err := r.Live.Get(ctx, types.NamespacedName{Namespace: pool.Namespace, Name: name}, &c); err != nil {
		return fmt.Errorf("reading certificate %s: %w", name, err)
	}
	reason := poolv1.ReasonCertificateMissing
	if r.Clock.Since(c.GetCreationTimestamp().Time) < issuerPatience {
		reason = poolv1.ReasonPending
	}
	said := "it does not say why; see Certificate " + name
	if words := readyMessage(c); words != "" {
		said = words
	}
	return status.Block(poolv1.ConditionConfigApplied, reason, "cert-manager has issued no certificate yet: %s", said)
}

// readyMessage is the message of a Certificate's condition Ready.
func readyMessage(c unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(c.Object, "status", "conditions")
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		if fields["type"] != "Ready" {
			continue
		}
		words, _ := fields["message"].(string)
		if runes := []rune(words); len(runes) > maxIssuerWords {
			words = string(runes[:maxIssuerWords]) + "…"
		}
		return strings.TrimRight(words, ". \n")
	}
	return ""
}

// withdrawCertificate deletes the Certificate of a pool that wants none any more. Each
// manager looks once: only it makes one.
func (r *ConnectionPoolReconciler) withdrawCertificate(ctx context.Context, pool *poolv1.ConnectionPool) error {
	key := client.ObjectKeyFromObject(pool)
	if pool.Spec.TLS.IssuerRef.Name != "" && clientTLSMode(pool) != poolv1.ClientTLSDisable {
		return nil
	}
	if _, known := r.withoutCertificate.Load(key); known {
		return nil
	}
	err := r.Applier.Withdraw(ctx, pool, manifests.CertificateKind, manifests.CertificateName(pool.Name))
	if err != nil && !apierrors.IsForbidden(err) { // Who may not look never made one.
		return fmt.Errorf("withdrawing the request to cert-manager: %w", err)
	}
	r.withoutCertificate.Store(key, struct{}{})
	return nil
}
