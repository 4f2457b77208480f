// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"slices"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// starvation is how long clients must have waited in every sample to count as starved.
const starvation = time.Second

// need is what one sample showed of the clients' need.
type need struct {
	at time.Time
	// active are the server connections in use by clients.
	active int32
	// starved are the clients that wait for a database that has all it may have.
	starved map[string]int32
}

// demand is what the samples of the last contract.DemandWindow showed, oldest
// first. A copy stays as it is while the original goes on.
type demand struct{ needs []need }

func (d *demand) note(n need) {
	d.needs = append(d.needs, n)
	for len(d.needs) > 0 && n.at.Sub(d.needs[0].at) > contract.DemandWindow {
		d.needs = d.needs[1:]
	}
}

// peak is the most server connections in use at once, as of the sample now.
func (d *demand) peak(now need) int32 {
	peak := now.active
	for _, n := range d.needs {
		if now.at.Sub(n.at) <= contract.DemandWindow {
			peak = max(peak, n.active)
		}
	}
	return peak
}

// starved is how many clients were starved in every sample of the last second, the
// sample now included. Without samples that reach back so far nobody was.
func (d *demand) starved(now need) int32 {
	lowest := now.starved
	for _, n := range slices.Backward(d.needs) {
		lowest = leastOf(lowest, n.starved)
		if now.at.Sub(n.at) < starvation {
			continue
		}
		var sum int32
		for _, clients := range lowest {
			sum += clients
		}
		return sum
	}
	return 0
}

func leastOf(a, b map[string]int32) map[string]int32 {
	least := map[string]int32{}
	for name, clients := range a {
		if other := min(clients, b[name]); other > 0 {
			least[name] = other
		}
	}
	return least
}

// needIn reads a sample. A client waits for a login, not for a higher limit, where
// logins are all the connections there are; each login in flight will serve one.
func needIn(sample pgbouncer.Sample, at time.Time) need {
	n := need{at: at, starved: map[string]int32{}}
	waiting, logins := map[string]int32{}, map[string]int32{}
	for _, pool := range sample.Pools {
		n.active += pool.ServersActive
		waiting[pool.Database] += pool.ClientsWaiting
		logins[pool.Database] += pool.InLogin
	}
	for _, db := range sample.Databases {
		full := db.CurrentConnections >= db.MaxConnections && db.CurrentConnections > logins[db.Name]
		if clients := waiting[db.Name] - logins[db.Name]; full && !db.Paused && !sample.Paused && clients > 0 {
			n.starved[db.Name] = clients
		}
	}
	return n
}

// observe samples a running PgBouncer. One that does not answer shows nothing.
func (s *Supervisor) observe(ctx context.Context) {
	s.sample, s.letting = nil, nil
	if s.process == nil {
		s.demand = demand{}
		return
	}
	sample, err := s.admin.Sample(ctx)
	if err != nil {
		s.demand = demand{}
		s.unwedge()
		return
	}
	s.view.answered()
	s.sample = &sample
	s.demand.note(needIn(sample, time.Now()))
	s.letting = s.lettingGo(ctx)
}
