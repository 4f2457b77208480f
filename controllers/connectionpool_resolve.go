// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/status"
)

const (
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "poolfleet"
)

// resolve finds the Upstream of the server that was looked at, or makes it.
func (r *ConnectionPoolReconciler) resolve(ctx context.Context, p *pass) error {
	r.resolving.Lock()
	defer r.resolving.Unlock()
	all, err := readServers(ctx, r.Client, r.Records, r.Clock.Now())
	if err != nil {
		return err
	}
	found, err := r.find(ctx, p, all)
	if err != nil {
		return err
	}
	before, noted := upstreamOf(r.Records, p.pool), p.record.Upstream
	p.upstream = found
	if found == nil {
		if err := r.create(ctx, p, all.upstreams); err != nil {
			r.belong(p, noted)
			return err
		}
	}
	p.resolved = true
	if noted == p.upstream.Name {
		return nil
	}
	r.belong(p, p.upstream.Name)
	r.tellMove(p, before)
	r.Signals.Upstream(ctx, before)
	r.Signals.Upstream(ctx, p.upstream.Name)
	return nil
}

// belong notes which Upstream a pool is on.
func (r *ConnectionPoolReconciler) belong(p *pass, upstream string) {
	p.record.Upstream = upstream
	r.Records.SetPool(client.ObjectKeyFromObject(p.pool), p.record)
}

// find returns the Upstream that this pool's server is; nil where nobody named the
// server before. While looks at it have yet to be compared, a pool stays where it
// is, and a new one waits.
func (r *ConnectionPoolReconciler) find(ctx context.Context, p *pass, all *servers) (*poolv1.Upstream, error) {
	key := client.ObjectKeyFromObject(p.pool)
	f := finding{all: all, pool: key, sight: r.Records.looks.sight(key, p.record.Endpoint, postgres.Identity{})}
	found := f.find(all.current(p))
	if len(f.ask) > 0 {
		p.comparing = true
		all.ask(ctx, r.Signals, f.ask)
		if found == nil {
			return nil, status.Block(poolv1.ConditionUpstreamObserved, poolv1.ReasonPending,
				"Another pool's address seems to lead to the same server: both are being looked at together")
		}
	}
	return found, nil
}

// tellMove tells of a pool that was on another Upstream.
func (r *ConnectionPoolReconciler) tellMove(p *pass, before string) {
	if before == "" || before == p.upstream.Name {
		return
	}
	r.Recorder.Eventf(p.pool, p.upstream, corev1.EventTypeNormal, poolv1.EventMoved, "Resolve",
		"The pool moved from Upstream %s to %s, which its address leads to now: its pods are replaced one after another", before, p.upstream.Name)
}

// create makes the Upstream of a server that nobody named before.
func (r *ConnectionPoolReconciler) create(ctx context.Context, p *pass, all []poolv1.Upstream) error {
	u := &poolv1.Upstream{ObjectMeta: metav1.ObjectMeta{
		Name:        upstreamName(p.record.Endpoint, all),
		Labels:      map[string]string{managedByLabel: managedBy},
		Annotations: map[string]string{endpointAnnotation: p.record.Endpoint},
		// From birth, so that it is there before the first entry is.
		Finalizers: []string{poolv1.UpstreamFinalizer},
	}}
	r.belong(p, u.Name) // Before it is there: an Upstream without a pool is nobody's.
	err := r.Create(ctx, u)
	if apierrors.IsAlreadyExists(err) {
		// The cache is behind: another pass made it a moment ago.
		err = r.Live.Get(ctx, client.ObjectKeyFromObject(u), u)
		if err == nil && (u.Annotations[endpointAnnotation] != p.record.Endpoint || merged(u) || !u.DeletionTimestamp.IsZero()) {
			return fmt.Errorf("making upstream %s: its name is taken by another server; trying again", u.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("making upstream %s: %w", u.Name, err)
	}
	log.FromContext(ctx).Info("Found a server", "upstream", klog.KObj(u))
	p.upstream = u
	return nil
}

// upstreamName makes a readable name of an address: the host, and the port where
// it is not PostgreSQL's own. A digest tells apart what would read the same.
func upstreamName(endpoint string, taken []poolv1.Upstream) string {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		host = endpoint
	}
	name := strings.Trim(strings.Map(nameRune, strings.ToLower(host)), "-.")
	if port != "" && port != "5432" {
		name += "-" + port
	}
	const maxName = 200
	clash := slices.ContainsFunc(taken, func(u poolv1.Upstream) bool { return u.Name == name })
	if clash || name == "" || len(name) > maxName || strings.Contains(host, ":") {
		sum := sha256.Sum256([]byte(endpoint))
		name = strings.Trim(name[:min(len(name), maxName)]+"-"+hex.EncodeToString(sum[:3]), "-.")
	}
	return name
}

func nameRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
		return r
	}
	return '-'
}
