// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// pool reads a ConnectionPool of the session's namespace.
func (s *session) pool(ctx context.Context, name string) (*poolv1.ConnectionPool, error) {
	var pool poolv1.ConnectionPool
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &pool)
	if apierrors.IsNotFound(err) {
		return nil, wrong("there is no ConnectionPool %s in namespace %s: `kubectl poolfleet status -A` lists all", name, s.namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConnectionPool %s: %w", name, err)
	}
	return &pool, nil
}
