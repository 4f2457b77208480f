// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// published reads the Secret that applications of a pool read.
func (s *session) published(ctx context.Context, pool *poolv1.ConnectionPool) (*corev1.Secret, error) {
	name := pool.Status.Binding.Name
	if name == "" {
		return nil, wrong("ConnectionPool %s has published nothing yet: %s\n`kubectl poolfleet doctor %s` says more", pool.Name, readyWords(pool), pool.Name)
	}
	secret, err := s.secret(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, wrong("Secret %s, which ConnectionPool %s publishes, is not there: the operator makes it anew within seconds if it runs", name, pool.Name)
	}
	return secret, err
}

// secret reads a Secret of the session's namespace. Errors are the API server's.
func (s *session) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return &secret, nil
}

// readyOf is the pool's Ready, as far as it speaks of the newest spec.
func readyOf(pool *poolv1.ConnectionPool) metav1.Condition {
	ready := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionReady)
	if ready == nil || ready.ObservedGeneration != pool.Generation {
		return metav1.Condition{
			Type: poolv1.ConditionReady, Status: metav1.ConditionUnknown, Reason: poolv1.ReasonPending,
			Message: "the operator has not looked at the newest spec yet",
		}
	}
	return *ready
}

func readyWords(pool *poolv1.ConnectionPool) string {
	ready := readyOf(pool)
	return ready.Reason + ": " + ready.Message
}
