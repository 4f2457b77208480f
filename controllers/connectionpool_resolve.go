// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

const (
	// endpointAnnotation on an Upstream is the address it was made for.
	endpointAnnotation = "poolfleet.dev/endpoint"

	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "poolfleet"
)

// resolve finds the Upstream of the server that was looked at, or makes it.
func (r *ConnectionPoolReconciler) resolve(ctx context.Context, p *pass) error {
	r.resolving.Lock()
	defer r.resolving.Unlock()
	var list poolv1.UpstreamList
	if err := r.List(ctx, &list); err != nil {
		return fmt.Errorf("listing upstreams: %w", err)
	}
	p.upstream = r.find(p, list.Items)
	if p.upstream == nil {
		if err := r.create(ctx, p, list.Items); err != nil {
			return err
		}
	}
	p.resolved = true
	if p.record.Upstream == p.upstream.Name {
		return nil
	}
	before := upstreamOf(r.Records, p.pool)
	p.record.Upstream = p.upstream.Name
	r.Records.SetPool(client.ObjectKeyFromObject(p.pool), p.record)
	r.Signals.Upstream(ctx, before)
	r.Signals.Upstream(ctx, p.upstream.Name)
	return nil
}

// find returns the Upstream that this pool's server is: by address, or, under
// another address, by what the server says it is.
func (r *ConnectionPoolReconciler) find(p *pass, all []poolv1.Upstream) *poolv1.Upstream {
	current := upstreamOf(r.Records, p.pool)
	matches := []func(*poolv1.Upstream) bool{
		func(u *poolv1.Upstream) bool { return u.Name == current && hasEndpoint(u, p.record.Endpoint) },
		func(u *poolv1.Upstream) bool { return hasEndpoint(u, p.record.Endpoint) },
		func(u *poolv1.Upstream) bool { return sameServer(u, p.record.Observation) },
		func(u *poolv1.Upstream) bool { return r.Records.SeenAt(u.Name, p.record.Observation.Identity()) },
	}
	for _, match := range matches {
		if i := slices.IndexFunc(all, func(u poolv1.Upstream) bool { return u.DeletionTimestamp.IsZero() && match(&u) }); i >= 0 {
			return &all[i]
		}
	}
	return nil
}

// hasEndpoint reads the address an Upstream was made for from an annotation, so
// that it holds from the moment of its creation, and those found later from its status.
func hasEndpoint(u *poolv1.Upstream, endpoint string) bool {
	return u.Annotations[endpointAnnotation] == endpoint ||
		slices.ContainsFunc(u.Status.Endpoints, func(e poolv1.ServerEndpoint) bool { return e.Address == endpoint })
}

func sameServer(u *poolv1.Upstream, observation postgres.Observation) bool {
	return identityFromStatus(u.Status.Server).Same(observation.Identity())
}

func identityToStatus(i postgres.Identity) poolv1.ServerIdentity {
	s := poolv1.ServerIdentity{SystemIdentifier: i.SystemIdentifier, Version: i.Version}
	if !i.StartTime.IsZero() {
		s.StartTime = i.StartTime.UTC().Format(time.RFC3339Nano)
	}
	if i.Address != "" {
		s.Address = net.JoinHostPort(i.Address, strconv.Itoa(int(i.Port)))
	}
	return s
}

// identityFromStatus reads back what identityToStatus wrote. What can't be read is
// not known, and what is not known is never the same server.
func identityFromStatus(s poolv1.ServerIdentity) postgres.Identity {
	i := postgres.Identity{SystemIdentifier: s.SystemIdentifier, Version: s.Version}
	if started, err := time.Parse(time.RFC3339Nano, s.StartTime); err == nil {
		i.StartTime = started
	}
	if address, err := netip.ParseAddrPort(s.Address); err == nil {
		i.Address, i.Port = address.Addr().String(), address.Port()
	}
	return i
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
	err := r.Create(ctx, u)
	if apierrors.IsAlreadyExists(err) {
		// The cache is behind: another pass made it a moment ago.
		err = r.Live.Get(ctx, client.ObjectKeyFromObject(u), u)
		if err == nil && !hasEndpoint(u, p.record.Endpoint) {
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
