// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// fleet is some pools as they are now.
type fleet struct {
	Pools []poolView `json:"pools"`
	// Notes say what could not be seen, and why.
	Notes []string `json:"notes,omitempty"`
}

// poolView is a pool at a glance. What is not known is nil.
type poolView struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     bool   `json:"ready"`
	Reason    string `json:"reason"`
	Message   string `json:"message,omitempty"`
	Upstream  string `json:"upstream,omitempty"`
	// ReadyPoolers of DesiredPoolers accept clients.
	ReadyPoolers   int32 `json:"readyPoolers"`
	DesiredPoolers int32 `json:"desiredPoolers"`
	connections
	traffic
	Poolers []poolerView `json:"poolers"`

	pool *poolv1.ConnectionPool
}

// connections are those to the server.
type connections struct {
	// Granted may be opened now, Held may still be open, Share is what is to come.
	Granted *int32 `json:"granted,omitempty"`
	Held    *int32 `json:"held,omitempty"`
	Share   *int32 `json:"share,omitempty"`
}

// poolerView is one pod.
type poolerView struct {
	Pod   string `json:"pod"`
	Ready bool   `json:"ready"`
	// State is the pod's phase, or Terminating.
	State string `json:"state"`
	connections
	traffic

	uid string
}

func (v poolView) fullName() string { return v.Namespace + "/" + v.Name }

// scope is which pools are asked for: one, those of a namespace, or all.
type scope struct {
	namespace, name string
}

func (s *session) scope(args []string, all bool) (scope, error) {
	switch {
	case len(args) == 1 && all:
		return scope{}, usageError("a pool is in one namespace: leave out -A, or the pool")
	case len(args) == 1:
		return scope{namespace: s.namespace, name: args[0]}, nil
	case all:
		return scope{}, nil
	}
	return scope{namespace: s.namespace}, nil
}

// look sees pools and their poolers, twice in the interval so that there are rates.
func (s *session) look(ctx context.Context, which scope, interval time.Duration) (*fleet, error) {
	pools, err := s.pools(ctx, which)
	if err != nil {
		return nil, err
	}
	pods, err := s.poolers(ctx, which)
	if err != nil {
		return nil, err
	}
	upstreams, note, err := s.upstreams(ctx)
	if err != nil {
		return nil, err
	}
	before, _ := s.scrape(ctx, pods)
	if len(before) > 0 {
		if err := s.wait(ctx, interval); err != nil {
			return nil, err
		}
	}
	now, silent := s.scrape(ctx, pods)
	seen := &fleet{Pools: []poolView{}}
	for i := range pools {
		seen.Pools = append(seen.Pools, viewOf(&pools[i], pods, upstreams, before, now))
	}
	for _, n := range []string{note, silence(silent)} {
		if n != "" {
			seen.Notes = append(seen.Notes, n)
		}
	}
	return seen, nil
}

func (s *session) pools(ctx context.Context, which scope) ([]poolv1.ConnectionPool, error) {
	if which.name != "" {
		pool, err := s.pool(ctx, which.name)
		if err != nil {
			return nil, err
		}
		return []poolv1.ConnectionPool{*pool}, nil
	}
	var list poolv1.ConnectionPoolList
	if err := s.client.List(ctx, &list, client.InNamespace(which.namespace)); err != nil {
		return nil, fmt.Errorf("listing ConnectionPools: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b poolv1.ConnectionPool) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return list.Items, nil
}

// poolers are the pods of the pools. A pod counts only when a ReplicaSet controls it.
func (s *session) poolers(ctx context.Context, which scope) ([]corev1.Pod, error) {
	choose := []client.ListOption{client.InNamespace(which.namespace), client.HasLabels{manifests.PoolLabel}}
	if which.name != "" {
		choose[1] = client.MatchingLabels(manifests.Selector(which.name))
	}
	var list corev1.PodList
	if err := s.client.List(ctx, &list, choose...); err != nil {
		return nil, fmt.Errorf("listing poolers: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		owner := metav1.GetControllerOf(&pod)
		return owner == nil || owner.Kind != "ReplicaSet"
	}), nil
}

// upstreams are the servers by name. Who may not see them, as they belong to the
// cluster, sees the rest all the same.
func (s *session) upstreams(ctx context.Context) (byName map[string]*poolv1.Upstream, note string, err error) {
	var list poolv1.UpstreamList
	err = s.client.List(ctx, &list)
	if apierrors.IsForbidden(err) {
		return nil, "What is held is not shown: you may not list upstreams.poolfleet.dev", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("listing Upstreams: %w", err)
	}
	byName = map[string]*poolv1.Upstream{}
	for i := range list.Items {
		byName[list.Items[i].Name] = &list.Items[i]
	}
	return byName, "", nil
}

func viewOf(pool *poolv1.ConnectionPool, pods []corev1.Pod, upstreams map[string]*poolv1.Upstream, before, now map[string]sample) poolView {
	ready := readyOf(pool)
	view := poolView{
		Namespace: pool.Namespace, Name: pool.Name, Upstream: pool.Status.Upstream.Name, pool: pool,
		Ready: ready.Status == metav1.ConditionTrue, Reason: ready.Reason, Message: ready.Message,
		ReadyPoolers: number(pool.Status.ReadyReplicas), DesiredPoolers: number(pool.Spec.Replicas),
		connections: connections{Granted: pool.Status.ServerConnections.Granted, Share: pool.Status.ServerConnections.Share},
		Poolers:     []poolerView{},
	}
	upstream := upstreams[view.Upstream]
	if line := lineOf(upstream, pool); line != nil {
		view.Granted, view.Held, view.Share = line.Granted, line.Held, line.Share
	}
	var all []traffic
	for i := range pods {
		if pods[i].Namespace == pool.Namespace && pods[i].Labels[manifests.PoolLabel] == pool.Name {
			pooler := poolerOf(&pods[i], upstream, before, now)
			view.Poolers = append(view.Poolers, pooler)
			all = append(all, pooler.traffic)
		}
	}
	slices.SortFunc(view.Poolers, func(a, b poolerView) int { return strings.Compare(a.Pod, b.Pod) })
	view.traffic = sumOf(all)
	return view
}

func poolerOf(pod *corev1.Pod, upstream *poolv1.Upstream, before, now map[string]sample) poolerView {
	view := poolerView{Pod: pod.Name, State: string(pod.Status.Phase), uid: string(pod.UID)}
	if !pod.DeletionTimestamp.IsZero() {
		view.State = "Terminating"
	}
	view.Ready = slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if entry := entryOf(upstream, view.uid); entry != nil {
		view.Granted, view.Held = entry.Granted, entry.Held
	}
	if last, there := now[view.uid]; there {
		var first *sample
		if s, was := before[view.uid]; was {
			first = &s
		}
		view.traffic = between(first, last)
	}
	return view
}

// lineOf is the pool's line in the server's account; nil where it has none.
func lineOf(upstream *poolv1.Upstream, pool *poolv1.ConnectionPool) *poolv1.PoolAccount {
	if upstream == nil {
		return nil
	}
	i := slices.IndexFunc(upstream.Status.Pools, func(a poolv1.PoolAccount) bool {
		return a.Namespace == pool.Namespace && a.Name == pool.Name
	})
	if i < 0 {
		return nil
	}
	return &upstream.Status.Pools[i]
}

func entryOf(upstream *poolv1.Upstream, uid string) *poolv1.LedgerEntry {
	if upstream == nil {
		return nil
	}
	i := slices.IndexFunc(upstream.Status.Ledger, func(e poolv1.LedgerEntry) bool { return e.UID == uid })
	if i < 0 {
		return nil
	}
	return &upstream.Status.Ledger[i]
}

// failing are the conditions that do not hold, those that sum up others left out.
func failing(conditions []metav1.Condition) (out []metav1.Condition) {
	summaries := []string{poolv1.ConditionReady, poolv1.ConditionReconciling, poolv1.ConditionStalled}
	for _, c := range conditions {
		if !slices.Contains(summaries, c.Type) && !meta.IsStatusConditionTrue(conditions, c.Type) {
			out = append(out, c)
		}
	}
	return out
}

func number(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}
