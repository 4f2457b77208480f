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
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/publish"
)

const statusKeyBytes = 32

// ownSecrets are what the pool's Secrets hold that must not change from one pass
// to the next.
type ownSecrets struct {
	credential publish.Credential
	statusKey  []byte
	// document is what the poolers were told last; its zero value before the first.
	document contract.Document
}

// readOwn reads what earlier passes generated, and generates what is missing. It
// stands in the poolers' own Secret; what applications read is made from it, so a
// change there is repaired, and a new name for it changes no password.
func (r *ConnectionPoolReconciler) readOwn(ctx context.Context, pool *poolv1.ConnectionPool) (ownSecrets, error) {
	document, err := ownDocument(ctx, r.Live, pool.Namespace, pool.Name, pool.UID)
	switch {
	case err == nil && len(document.PgBouncer.Users) > 0:
		user := document.PgBouncer.Users[0]
		return ownSecrets{
			credential: publish.Credential{Username: user.Name, Password: user.Password},
			statusKey:  document.StatusKey, document: document,
		}, nil
	case err != nil && !errors.Is(err, errNoDocument):
		return ownSecrets{}, err
	}
	credential, err := publish.NewCredential(rand.Reader)
	if err != nil {
		return ownSecrets{}, fmt.Errorf("generating a credential: %w", err)
	}
	key := make([]byte, statusKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return ownSecrets{}, fmt.Errorf("generating a status key: %w", err)
	}
	return ownSecrets{credential: credential, statusKey: key}, nil
}

// errNoDocument means that a pool's poolers have no configuration yet.
var errNoDocument = errors.New("the pool has no configuration yet")

// ownDocument reads the configuration of a pool's poolers. Another's Secret of that
// name is never taken up: its content could be anyone's choice.
func ownDocument(ctx context.Context, live client.Reader, namespace, pool string, owner types.UID) (contract.Document, error) {
	var secret corev1.Secret
	err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: manifests.ConfigSecretName(pool)}, &secret)
	if apierrors.IsNotFound(err) {
		return contract.Document{}, errNoDocument
	}
	if err != nil {
		return contract.Document{}, fmt.Errorf("reading the pool's configuration: %w", err)
	}
	controller := metav1.GetControllerOf(&secret)
	if controller == nil || owner != "" && controller.UID != owner {
		return contract.Document{}, errNoDocument
	}
	document, err := contract.DecodeDocument(secret.Data[contract.ConfigKey])
	if err != nil || len(document.StatusKey) != statusKeyBytes {
		return contract.Document{}, errNoDocument
	}
	return document, nil
}

// statusKey reads the key that a pool's pods answer with.
func statusKey(ctx context.Context, live client.Reader, namespace, pool string) ([]byte, error) {
	document, err := ownDocument(ctx, live, namespace, pool, "")
	return document.StatusKey, err
}
