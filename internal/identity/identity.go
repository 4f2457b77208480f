// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package identity decides which addresses lead to one PostgreSQL server. It is
// pure: it compares looks that others made, and may not look itself.
package identity

import (
	"cmp"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/internal/postgres"
)

// Patience is how long a look that was asked for may take. An address that was not
// looked at by then is silent, and silence proves nothing.
const Patience = 20 * time.Second

// Sight is what the newest look of one pool at its address came to.
type Sight struct {
	Endpoint string
	// Identity is the newest that was seen there; unknown before the first.
	Identity postgres.Identity
	// Answered is whether the newest look saw Identity.
	Answered bool
	// Began is when the newest look began; zero before the first.
	Began time.Time
	// Since is when Identity was first seen there.
	Since time.Time
}

// Server is what stands written of an Upstream.
type Server struct {
	Identity postgres.Identity
	// Since is when it was first read so.
	Since time.Time
	// Leading is the endpoint that keeps the Upstream where nothing else says who does.
	Leading string
}

// Verdict is what the sights of an Upstream's endpoints come to.
type Verdict struct {
	// Identity is the server that the Upstream is.
	Identity postgres.Identity
	// Leave are the endpoints that lead to another server now, sorted.
	Leave []string
	// Ask are the endpoints to look at again, and since when a look counts. While
	// there are any, nothing else is decided.
	Ask map[string]time.Time
}

// Settled reports whether all endpoints that answer lead to the Upstream's server.
func (v Verdict) Settled() bool { return len(v.Ask) == 0 && len(v.Leave) == 0 }

// Judge compares the sights of all endpoints of an Upstream with what is written of
// it. While they agree, it is that server. When one shows another, all others have
// to be looked at again, so that only looks made together are compared: if they
// agree, the server has restarted or moved, and the Upstream with it; if not, those
// that lead elsewhere leave.
func Judge(server Server, sights []Sight, now time.Time) Verdict {
	voices := newest(sights)
	if !slices.ContainsFunc(voices, func(s Sight) bool { return s.Answered && differs(s, server.Identity) }) {
		return Verdict{Identity: better(server.Identity, voices)}
	}
	ask := map[string]time.Time{}
	var together []Sight
	for _, voice := range voices {
		due := dueSince(voice, voices, server)
		switch {
		case !voice.Began.Before(due):
			if voice.Answered {
				together = append(together, voice)
			}
		case now.Before(due.Add(Patience)):
			ask[voice.Endpoint] = due
		}
	}
	if len(ask) > 0 || len(together) == 0 {
		return Verdict{Identity: server.Identity, Ask: ask}
	}
	return part(server, together)
}

// Still reports whether what is seen at a server's own address is what is written of
// it. A server that tells too little of itself to be found again under another
// address is still itself under its own.
func Still(seen, written postgres.Identity) bool {
	return !written.Known() || seen == written || seen.Same(written)
}

func differs(s Sight, identity postgres.Identity) bool { return !Still(s.Identity, identity) }

// newest is one sight for each endpoint, by endpoint: the newest of those that were
// answered, where any was. That one role is refused says nothing of the server.
func newest(sights []Sight) []Sight {
	byEndpoint := map[string]Sight{}
	for _, s := range sights {
		old, ok := byEndpoint[s.Endpoint]
		if !ok || s.Answered && !old.Answered || s.Answered == old.Answered && old.Began.Before(s.Began) {
			byEndpoint[s.Endpoint] = s
		}
	}
	out := make([]Sight, 0, len(byEndpoint))
	for _, s := range byEndpoint {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Sight) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	return out
}

// dueSince is from when on a look at an endpoint can be compared with the others:
// after every identity that contradicts it was first seen.
func dueSince(voice Sight, voices []Sight, server Server) time.Time {
	var due time.Time
	if voice.Answered && differs(voice, server.Identity) {
		due = server.Since
	}
	for _, other := range voices {
		contradicts := other.Answered && (voice.Answered && !Still(other.Identity, voice.Identity) ||
			!voice.Answered && differs(other, server.Identity))
		if contradicts && other.Since.After(due) {
			due = other.Since
		}
	}
	return due
}

// part divides sights made together by the server they are of. Those of the server
// that is written down keep the Upstream, else those that agree with its leading
// endpoint, else with the first.
func part(server Server, together []Sight) Verdict {
	keeper := together[0].Identity
	for _, s := range together {
		if s.Endpoint == server.Leading {
			keeper = s.Identity
		}
	}
	for _, s := range together {
		if server.Identity.Known() && Still(s.Identity, server.Identity) {
			keeper = server.Identity
		}
	}
	v := Verdict{Identity: better(keeper, together)}
	for _, s := range together {
		if !Still(s.Identity, keeper) {
			v.Leave = append(v.Leave, s.Endpoint)
		}
	}
	return v
}

// better keeps what is written, so that looks through several addresses do not
// rewrite it by turns, unless a look says more of the same server.
func better(identity postgres.Identity, voices []Sight) postgres.Identity {
	for _, s := range voices {
		more := !identity.Known() || identity.SystemIdentifier == "" && s.Identity.SystemIdentifier != "" && s.Identity.Same(identity)
		if s.Answered && s.Identity.Known() && more {
			identity = s.Identity
		}
	}
	return identity
}

// Proof is whether two lists of sights are of one server.
type Proof int

// Two servers are one when looks made together say so.
const (
	Different Proof = iota
	Undecided
	Same
)

// Compare tells whether two Upstreams, or a pool and an Upstream, are one server.
// It is Same only when an endpoint of each was looked at since the other was first
// seen to be that server; ask are endpoints to look at for that while it is Undecided.
func Compare(ours, theirs []Sight, now time.Time) (proof Proof, ask map[string]time.Time) {
	ask = map[string]time.Time{}
	for _, a := range ours {
		for _, b := range theirs {
			if !a.Identity.Same(b.Identity) {
				continue
			}
			fresh := !owes(a, b, now, ask)
			if fresh = !owes(b, a, now, ask) && fresh; fresh && a.confirms(b) && b.confirms(a) {
				return Same, nil
			}
		}
	}
	if len(ask) > 0 {
		return Undecided, ask
	}
	return Different, nil
}

// confirms reports whether a look was made since another saw the same server.
func (s Sight) confirms(other Sight) bool { return s.Answered && !s.Began.Before(other.Since) }

// owes notes that an endpoint is to be looked at since another saw the same server.
func owes(s, other Sight, now time.Time, ask map[string]time.Time) bool {
	if !s.Began.Before(other.Since) || !now.Before(other.Since.Add(Patience)) {
		return false
	}
	if ask[s.Endpoint].Before(other.Since) {
		ask[s.Endpoint] = other.Since
	}
	return true
}
