// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

// pass is one reconciliation of one pool: what was read, and what was made of it.
type pass struct {
	pool *poolv1.ConnectionPool
	// edge is how the pool stands with the gateway; nil where it does not ask for it.
	edge *status.Edge
	// source is what the Secrets say, or what the poolers run where kept says why.
	source postgres.Source
	kept   *status.Blocked
	// proven is true where poolers run source already.
	proven     bool
	record     Record
	upstream   *poolv1.Upstream
	deployment *appsv1.Deployment
	pods       []corev1.Pod
	// resolved is true once upstream is known to be the server of source.
	resolved bool
	// comparing is true while looks are awaited that tell which server it is.
	comparing bool
	// revision of the configuration that was applied; empty when none was.
	revision string
	urls     poolv1.PublishedURLs
	bounded  int32
	// clientTLS is how clients reach the poolers, and clientCA what they can verify the
	// certificate with, in PEM; empty where they have to know themselves.
	clientTLS pgbouncer.ClientTLS
	clientCA  string
	// security is what else is known of TLS to clients.
	security clientSecurity
	// lookup is how users are looked up, in that authentication mode.
	lookup userLookup
	// keyring is what clients may log in with, as wish asks; rotated is true where
	// applications can read another credential than before.
	keyring publish.Keyring
	wish    publish.Wish
	rotated bool
}

// observe reads what the pass needs: the Secret, the server, its Upstream.
func (r *ConnectionPoolReconciler) observe(ctx context.Context, p *pass) error {
	key := client.ObjectKeyFromObject(p.pool)
	p.record = r.Records.Pool(key)
	if err := r.readKnown(ctx, p); err != nil {
		return err
	}
	if err := r.chooseSource(ctx, p); err != nil {
		return err
	}
	if err := r.look(ctx, p); err != nil {
		return err
	}
	if err := r.resolve(ctx, p); err != nil {
		return err
	}
	if err := allowed(p); err != nil {
		return err
	}
	return r.seeLookup(ctx, p)
}

// readKnown reads what earlier passes led to, so that a pass that is stopped early
// can still say how the pool is.
func (r *ConnectionPoolReconciler) readKnown(ctx context.Context, p *pass) error {
	if err := r.readDeployment(ctx, p); err != nil {
		return err
	}
	var err error
	if p.pods, err = podsOf(ctx, r.Client, p.pool); err != nil {
		return err
	}
	name := upstreamOf(r.Records, p.pool)
	if name == "" {
		return nil
	}
	var upstream poolv1.Upstream
	err = r.Get(ctx, types.NamespacedName{Name: name}, &upstream)
	if err == nil {
		p.upstream = &upstream
	}
	return client.IgnoreNotFound(err)
}

func (r *ConnectionPoolReconciler) readDeployment(ctx context.Context, p *pass) error {
	var d appsv1.Deployment
	err := r.Get(ctx, types.NamespacedName{Namespace: p.pool.Namespace, Name: manifests.PooledName(p.pool.Name)}, &d)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the poolers' deployment: %w", err)
	}
	for _, owner := range d.OwnerReferences {
		if owner.UID == p.pool.UID {
			p.deployment = &d
		}
	}
	return nil
}

// allowed checks the administrator's word on namespaces.
func allowed(p *pass) error {
	if p.upstream == nil || claims.Allowed(p.upstream, p.pool.Namespace) {
		return nil
	}
	return status.Block(poolv1.ConditionBudgetGranted, poolv1.ReasonNamespaceNotAllowed,
		"Upstream %s does not let pools of namespace %s in: ask its administrator to add it to spec.allowedNamespaces", p.upstream.Name, p.pool.Namespace)
}
