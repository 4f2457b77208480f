// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/identity"
)

// finding looks for the Upstream that a pool's server is.
type finding struct {
	all   *servers
	pool  types.NamespacedName
	sight identity.Sight
	// ask are endpoints that have to be looked at before it is clear.
	ask map[string]time.Time
}

// current is the Upstream that a pool is on, if its address is the one that led there.
func (v *servers) current(p *pass) *poolv1.Upstream {
	name := p.record.Upstream
	if known := p.pool.Status.Upstream; name == "" && known.Endpoint == p.record.Endpoint {
		name = known.Name
	}
	u := v.into(v.named(name))
	if u == nil || !u.DeletionTimestamp.IsZero() {
		return nil
	}
	return u
}

// find keeps the current Upstream unless the pool's address leads elsewhere now. For
// others, what pools see at the same address counts first, then what the server says
// it is, then the address that is written.
func (f *finding) find(current *poolv1.Upstream) *poolv1.Upstream {
	if current != nil && f.keeps(current) {
		return current
	}
	others := slices.Collect(func(yield func(*poolv1.Upstream) bool) {
		for i := range f.all.upstreams {
			u := &f.all.upstreams[i]
			if u != current && !merged(u) && u.DeletionTimestamp.IsZero() && !yield(u) {
				return
			}
		}
	})
	slices.SortFunc(others, func(a, b *poolv1.Upstream) int {
		if elder(a, b) {
			return -1
		}
		return 1
	})
	for _, match := range []func(*poolv1.Upstream) bool{f.sharesAddress, f.isSameServer, f.hasAddress} {
		i := slices.IndexFunc(others, match)
		if len(f.ask) > 0 {
			return current
		}
		if i >= 0 {
			return others[i]
		}
	}
	return nil
}

// keeps reports whether the pool stays with its Upstream, for now at least.
func (f *finding) keeps(u *poolv1.Upstream) bool {
	if !f.sight.Answered {
		return true
	}
	return !slices.Contains(f.judge(u).Leave, f.sight.Endpoint)
}

func (f *finding) judge(u *poolv1.Upstream, beside ...identity.Sight) identity.Verdict {
	verdict := f.all.judge(u, beside...)
	f.wants(verdict.Ask)
	return verdict
}

func (f *finding) wants(ask map[string]time.Time) {
	if f.ask == nil {
		f.ask = map[string]time.Time{}
	}
	maps.Copy(f.ask, ask)
}

// sharesAddress reports whether other pools are on an Upstream under the pool's own
// address, and it leads there still.
func (f *finding) sharesAddress(u *poolv1.Upstream) bool {
	shares := slices.ContainsFunc(f.all.sights(u, f.pool), func(s identity.Sight) bool { return s.Endpoint == f.sight.Endpoint })
	return shares && !slices.Contains(f.judge(u, f.sight).Leave, f.sight.Endpoint)
}

// isSameServer reports whether an Upstream is the pool's server under another
// address. Where pools are on it, it takes looks made together.
func (f *finding) isSameServer(u *poolv1.Upstream) bool {
	if !f.sight.Answered {
		return false
	}
	theirs := f.all.sights(u, f.pool)
	if len(theirs) == 0 {
		return f.sight.Identity.Same(identityOf(u))
	}
	proof, ask := identity.Compare([]identity.Sight{f.sight}, theirs, f.all.now)
	f.wants(ask)
	return proof == identity.Same
}

// hasAddress reports whether an Upstream that no pool is on was found under the
// pool's address. Whatever server it was, its name and its ledger are taken up.
func (f *finding) hasAddress(u *poolv1.Upstream) bool {
	if len(f.all.sights(u, f.pool)) > 0 {
		return false
	}
	if len(u.Status.Endpoints) == 0 {
		return u.Annotations[endpointAnnotation] == f.sight.Endpoint
	}
	return slices.ContainsFunc(u.Status.Endpoints, func(e poolv1.ServerEndpoint) bool { return e.Address == f.sight.Endpoint })
}
