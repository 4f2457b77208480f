// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/status"
)

// AuthoritySecret is the Secret, in the operator's namespace, of the authority whose
// certificates pools show that name no other.
const AuthoritySecret = "poolfleet-ca"

// authority reads the operator's authority. It makes one where there is none, and
// never replaces one that can not be read: clients trust it.
func (r *ConnectionPoolReconciler) authority(ctx context.Context) (certificates.Authority, error) {
	key := types.NamespacedName{Namespace: r.Settings.OperatorNamespace, Name: AuthoritySecret}
	if key.Namespace == "" {
		return certificates.Authority{}, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateMissing,
			"The operator does not know its own namespace, where its authority is kept: start it with --operator-namespace, or set spec.tls.secretRef")
	}
	var secret corev1.Secret
	err := r.Live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return r.makeAuthority(ctx, key)
	}
	if err != nil {
		return certificates.Authority{}, fmt.Errorf("reading the authority in secret %s: %w", key, err)
	}
	found, err := readAuthority(&secret)
	if err != nil || r.Clock.Now().Before(found.RenewAt()) || secret.Labels[managedByLabel] != managedBy {
		return found, err // One that a person brought is theirs to renew.
	}
	return r.renewAuthority(ctx, &secret, found), nil
}

func readAuthority(secret *corev1.Secret) (certificates.Authority, error) {
	found, err := certificates.ParseAuthority(secret.Data[certificates.CertificateKey], secret.Data[certificates.PrivateKeyKey])
	if e, ok := errors.AsType[*certificates.Error](err); ok {
		return found, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonCertificateInvalid,
			"Secret %s/%s, the operator's own authority, can not be used: %s; restore it, or delete it to have a new one made, which every client that verifies certificates must then be given",
			secret.Namespace, secret.Name, e.Message)
	}
	return found, err
}

// makeAuthority makes an authority, or takes up the one that another made meanwhile.
func (r *ConnectionPoolReconciler) makeAuthority(ctx context.Context, key types.NamespacedName) (certificates.Authority, error) {
	made, err := certificates.NewAuthority(rand.Reader, r.Clock.Now())
	if err != nil {
		return made, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{managedByLabel: managedBy}},
		Type:       corev1.SecretTypeTLS,
		Data:       authorityData(made),
	}
	err = r.Create(ctx, secret)
	if err == nil {
		log.FromContext(ctx).Info("Made a certificate authority", "secret", klog.KObj(secret))
		return made, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return made, fmt.Errorf("keeping the authority in secret %s: %w", key, err)
	}
	if err := r.Live.Get(ctx, key, secret); err != nil {
		return made, fmt.Errorf("reading the authority in secret %s: %w", key, err)
	}
	return readAuthority(secret)
}

// renewAuthority gives the authority a new root certificate. The one before is good
// for years still, so whoever fails to write it, or is late, goes on with that.
func (r *ConnectionPoolReconciler) renewAuthority(ctx context.Context, secret *corev1.Secret, old certificates.Authority) certificates.Authority {
	logger := klog.LoggerWithValues(log.FromContext(ctx), "secret", klog.KObj(secret))
	renewed, err := old.Renew(rand.Reader, r.Clock.Now())
	if err == nil {
		before := secret.DeepCopy()
		secret.Data = authorityData(renewed)
		err = r.Patch(ctx, secret, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}
	if err != nil {
		logger.Error(err, "Renewing the certificate authority")
		return old
	}
	logger.Info("Renewed the certificate authority")
	return renewed
}

func authorityData(a certificates.Authority) map[string][]byte {
	return map[string][]byte{
		certificates.CertificateKey: []byte(a.Pair.Certificate),
		certificates.PrivateKeyKey:  []byte(a.Pair.Key),
		certificates.AuthorityKey:   []byte(a.Pair.Certificate),
	}
}
