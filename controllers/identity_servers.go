// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/identity"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

const (
	// endpointAnnotation on an Upstream is the address it was made for.
	endpointAnnotation = "poolfleet.dev/endpoint"
	// mergedAnnotation on an Upstream names the one that proved to be the same server:
	// its pools move there, and nothing is raised here any more. It is never taken back.
	mergedAnnotation = "poolfleet.dev/merged-into"
)

// servers is what one pass knows of all Upstreams and the pools on them. It is read
// only: what it holds is the cache's own.
type servers struct {
	records   *Records
	upstreams []poolv1.Upstream
	pools     []poolv1.ConnectionPool
	now       time.Time
}

func readServers(ctx context.Context, reader client.Reader, records *Records, now time.Time) (*servers, error) {
	var upstreams poolv1.UpstreamList
	var pools poolv1.ConnectionPoolList
	if err := reader.List(ctx, &upstreams, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing upstreams: %w", err)
	}
	if err := reader.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing connection pools: %w", err)
	}
	return &servers{records: records, upstreams: upstreams.Items, pools: pools.Items, now: now}, nil
}

// named returns an Upstream by name; nil when it is gone.
func (v *servers) named(name string) *poolv1.Upstream {
	i := slices.IndexFunc(v.upstreams, func(u poolv1.Upstream) bool { return u.Name == name })
	if i < 0 {
		return nil
	}
	return &v.upstreams[i]
}

// into follows merges to the Upstream that counts; nil when it is gone.
func (v *servers) into(u *poolv1.Upstream) *poolv1.Upstream {
	for range v.upstreams {
		if u == nil || !merged(u) {
			return u
		}
		u = v.named(u.Annotations[mergedAnnotation])
	}
	return nil
}

func merged(u *poolv1.Upstream) bool { return u.Annotations[mergedAnnotation] != "" }

// sights are what the newest looks of an Upstream's pools came to; those of one pool
// are left out on demand.
func (v *servers) sights(u *poolv1.Upstream, except types.NamespacedName) []identity.Sight {
	written := identityOf(u)
	var out []identity.Sight
	for i := range v.pools {
		key := client.ObjectKeyFromObject(&v.pools[i])
		if endpoint, ok := memberEndpoint(v.records, &v.pools[i], u.Name); ok && key != except {
			out = append(out, v.records.looks.sight(key, endpoint, written))
		}
	}
	return out
}

// memberEndpoint is the address under which a pool is on an Upstream.
func memberEndpoint(records *Records, pool *poolv1.ConnectionPool, upstream string) (endpoint string, ok bool) {
	if !pool.DeletionTimestamp.IsZero() || upstreamOf(records, pool) != upstream {
		return "", false
	}
	if record := records.Pool(client.ObjectKeyFromObject(pool)); record.Upstream == upstream {
		return record.Endpoint, true
	}
	return pool.Status.Upstream.Endpoint, true
}

// judge says what the sights of an Upstream come to, and those given beside them.
func (v *servers) judge(u *poolv1.Upstream, beside ...identity.Sight) identity.Verdict {
	written := identityOf(u)
	server := identity.Server{Identity: written, Since: v.records.looks.writtenSince(u.Name, written, v.now), Leading: leading(u)}
	return identity.Judge(server, append(v.sights(u, types.NamespacedName{}), beside...), v.now)
}

// leading is the endpoint that an Upstream stands for in the first place.
func leading(u *poolv1.Upstream) string {
	if len(u.Status.Endpoints) > 0 {
		return u.Status.Endpoints[0].Address
	}
	return u.Annotations[endpointAnnotation]
}

// ask has the pools at these endpoints look again.
func (v *servers) ask(ctx context.Context, signals *Signals, endpoints map[string]time.Time) {
	for i := range v.pools {
		key := client.ObjectKeyFromObject(&v.pools[i])
		endpoint, ok := memberEndpoint(v.records, &v.pools[i], upstreamOf(v.records, &v.pools[i]))
		if since, asked := endpoints[endpoint]; ok && asked {
			v.records.looks.ask(key, since)
			if v.records.looks.due(key) {
				signals.Pool(ctx, key)
			}
		}
	}
}

// elder reports whether an Upstream is the one of two that the other empties into.
func elder(a, b *poolv1.Upstream) bool {
	if going := a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero(); going {
		return a.DeletionTimestamp.IsZero()
	}
	if x, y := &a.CreationTimestamp, &b.CreationTimestamp; !x.Equal(y) {
		return x.Before(y)
	}
	return a.Name < b.Name
}

// identityOf is the server that is written of an Upstream.
func identityOf(u *poolv1.Upstream) postgres.Identity {
	i := identityFromStatus(u.Status.Server)
	if c := u.Status.Capacity; i.Known() && c.Source == poolv1.CapacityObserved {
		i.Slots = postgres.Slots{
			MaxConnections: valueOr(c.MaxConnections, 0), SuperuserReserved: valueOr(c.SuperuserReserved, 0), Reserved: valueOr(c.Reserved, 0),
		}
	}
	return i
}

func identityToStatus(i postgres.Identity) poolv1.ServerIdentity {
	s := poolv1.ServerIdentity{SystemIdentifier: i.SystemIdentifier, Version: i.Version}
	if i.Known() {
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
