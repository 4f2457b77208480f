// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/claims"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/kube"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

// converge renders, builds and applies what the pool consists of.
func (r *ConnectionPoolReconciler) converge(ctx context.Context, p *pass) error {
	account := accountOf(p.upstream, p.pool)
	if account == nil || r.uncounted(p) {
		return nil // The server's account comes first; it wakes this pool.
	}
	// By what it is entitled to: a loan, which may be called back in a moment, scales nothing.
	p.bounded = budget.PodsThatFit(entitled(account), account.Floor, claims.Replicas(p.pool))
	own, err := r.ownSecrets(ctx, p)
	if err != nil {
		return err
	}
	if err := r.secureClients(ctx, p, own.document.PgBouncer.ClientTLS); err != nil {
		return err
	}
	document, err := documentOf(p, own)
	if err != nil {
		return err
	}
	data, revision, err := document.Encode()
	if err != nil {
		return err
	}
	published := publish.Build(anonymous(p, publication(p, own.keyring.Published().Login)))
	p.revision, p.urls = revision, poolv1.PublishedURLs(published.URLs)
	in := manifests.FromPool(p.pool)
	in.Replicas, in.Image, in.ImagePullPolicy = p.bounded, cmp.Or(in.Image, r.Settings.PoolerImage), r.Settings.PullPolicy
	in.Upstream = p.upstream.Name
	in.UpstreamPort, in.OperatorNamespace = int32(p.source.Port), r.Settings.OperatorNamespace
	in.ScraperNamespaces = r.Settings.ScraperNamespaces
	in.Config, in.ConfigRevision, in.Credentials, in.Published = data, revision, own.keyring.Encode(), published.Data
	if err := r.apply(ctx, p.pool, manifests.Build(in)); err != nil {
		return blockedByApply(err)
	}
	r.Records.NoteQuery(client.ObjectKeyFromObject(p.pool), revision, document.PgBouncer.ConnectQuery)
	r.tellRotation(p)
	return nil
}

// apply writes what the pool consists of and deletes what it no longer does.
func (r *ConnectionPoolReconciler) apply(ctx context.Context, pool *poolv1.ConnectionPool, objects []runtime.ApplyConfiguration) error {
	if err := r.Applier.Apply(ctx, pool, objects...); err != nil {
		return err
	}
	return r.Applier.Prune(ctx, pool, objects...)
}

// blockedByApply turns a refused write into what the status says of it.
func blockedByApply(err error) error {
	var conflict *kube.ConflictError
	var refused *kube.RefusedError
	switch {
	case errors.As(err, &conflict) && conflict.Predecessor:
		return status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonPending, "%s", sentence(conflict.Error()))
	case errors.As(err, &conflict):
		return status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonNameConflict,
			"%s %s is there already and is not this pool's: rename or delete it, or give the pool another name", conflict.Kind, conflict.Name)
	case errors.As(err, &refused):
		return status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonRefused, "%s", sentence(refused.Error()))
	}
	return err
}

// publication gathers what the published URLs are made of.
func publication(p *pass, login publish.Login) publish.Inputs {
	return publish.Inputs{
		Namespace: p.pool.Namespace, Pool: p.pool.Name,
		Host: manifests.ServiceHost(p.pool.Name, p.pool.Namespace), Port: contract.ClientPort,
		ExternalHost: p.pool.Spec.Service.ExternalHostname, EdgeHost: edgeHost(p),
		Database: databasesOf(p)[0].Name, Login: login,
		TLSMode: p.clientTLS.Mode, CA: p.clientCA,
		Direct: p.source.URL(), DirectWithoutPassword: p.source.RedactedURL(),
	}
}
