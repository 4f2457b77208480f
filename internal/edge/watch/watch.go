// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package watch fills the gateway's Directory with the ConnectionPools of a cluster
// that ask for it. It reads ConnectionPools and nothing else, and writes nothing.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/edge"
)

// Watch follows the ConnectionPools of a cluster. While the API server is away, what was
// last known of them holds.
type Watch struct {
	directory *edge.Directory
	log       *slog.Logger
	cache     cache.Cache
	// changed has room for one: that something changed is all there is to know.
	changed chan struct{}
	synced  atomic.Bool
}

// New prepares a watch that fills the directory, in the given namespaces or in all. It
// does not ask the API server yet.
func New(config *rest.Config, namespaces []string, directory *edge.Directory, log *slog.Logger) (*Watch, error) {
	scheme := runtime.NewScheme()
	if err := poolv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the kinds: %w", err)
	}
	// A mapper of our own: to discover kinds would take the API server to start.
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"ConnectionPool", "ConnectionPoolList"} { // A cache of namespaces asks for both.
		mapper.Add(poolv1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	options := cache.Options{
		Scheme: scheme, Mapper: mapper,
		ByObject: map[client.Object]cache.ByObject{&poolv1.ConnectionPool{}: {Transform: strip}},
	}
	if len(namespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range namespaces {
			options.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	pools, err := cache.New(config, options)
	if err != nil {
		return nil, fmt.Errorf("preparing to watch connection pools: %w", err)
	}
	return &Watch{directory: directory, log: log, cache: pools, changed: make(chan struct{}, 1)}, nil
}

// Ready is nil once the directory has been filled.
func (w *Watch) Ready() error {
	if !w.synced.Load() {
		return errors.New("the connection pools of the cluster are not known yet")
	}
	return nil
}

// Run keeps the directory up to date until the context ends.
func (w *Watch) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	informer, err := w.cache.GetInformer(ctx, &poolv1.ConnectionPool{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching connection pools: %w", err)
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { w.note() }, UpdateFunc: func(any, any) { w.note() }, DeleteFunc: func(any) { w.note() },
	}); err != nil {
		return fmt.Errorf("watching connection pools: %w", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.cache.Start(ctx) }()
	if w.cache.WaitForCacheSync(ctx) {
		w.follow(ctx)
	}
	stop()
	if err := <-stopped; err != nil {
		return fmt.Errorf("watching connection pools: %w", err)
	}
	return nil
}

func (w *Watch) note() {
	select {
	case w.changed <- struct{}{}:
	default: // It is to be looked at anyway.
	}
}

func (w *Watch) follow(ctx context.Context) {
	for {
		if err := w.fill(ctx); err != nil {
			w.log.Warn("what is served stays as it was", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
	}
}

// fill tells the directory what the cache holds.
func (w *Watch) fill(ctx context.Context) error {
	var pools poolv1.ConnectionPoolList
	if err := w.cache.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing connection pools: %w", err)
	}
	served := Pools(pools.Items)
	w.directory.Replace(served)
	if !w.synced.Swap(true) {
		w.log.Info("the connection pools of the cluster are known", "served", len(served))
	}
	return nil
}

// strip leaves of a pool what Pools reads, so that memory holds no more.
func strip(object any) (any, error) {
	pool, ok := object.(*poolv1.ConnectionPool)
	if !ok {
		return object, nil
	}
	kept := &poolv1.ConnectionPool{TypeMeta: pool.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: pool.Namespace, Name: pool.Name, UID: pool.UID,
		ResourceVersion: pool.ResourceVersion, CreationTimestamp: pool.CreationTimestamp,
	}}
	kept.Spec.Edge, kept.Spec.Mode, kept.Spec.TLS.Mode = pool.Spec.Edge, pool.Spec.Mode, pool.Spec.TLS.Mode
	kept.Spec.Service.ExternalHostname = pool.Spec.Service.ExternalHostname
	kept.Status.TLS.Authority, kept.Status.TLS.DNSNames = pool.Status.TLS.Authority, pool.Status.TLS.DNSNames
	if ready := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionReady); ready != nil {
		kept.Status.Conditions = []metav1.Condition{{Type: ready.Type, Status: ready.Status, Reason: ready.Reason}}
	}
	return kept, nil
}
