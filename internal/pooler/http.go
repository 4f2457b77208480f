// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// view is what the HTTP handlers may know of the supervisor.
type view struct {
	mu sync.Mutex
	state
}

type state struct {
	status  contract.Status
	demand  demand
	keys    [][]byte
	granted int32
	tally   tally
	// running is true from before PgBouncer starts until it is known to have ended.
	running bool
	// serving is true while PgBouncer runs what it should and is not on its way out.
	serving    bool
	beat       time.Time
	lastAnswer time.Time
}

func (v *view) change(f func(*state)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.state)
}

func (v *view) look() state {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

func (v *view) beat()     { v.change(func(s *state) { s.beat = time.Now() }) }
func (v *view) answered() { v.change(func(s *state) { s.lastAnswer = time.Now() }) }
func (v *view) started() {
	v.change(func(s *state) { s.running, s.lastAnswer = true, time.Now() })
}

func (v *view) drain() {
	v.change(func(s *state) { s.status.Draining, s.serving = true, false })
}

// tell shows others where the supervisor stands.
func (s *Supervisor) tell() {
	var keys [][]byte
	for _, doc := range []*document{s.in.doc, s.mem.doc} {
		if doc != nil && len(doc.StatusKey) > 0 {
			keys = append(keys, doc.StatusKey)
		}
	}
	s.view.change(func(v *state) {
		draining := v.status.Draining
		v.keys, v.running = keys, s.process != nil
		v.serving = v.running && s.leaving == nil && !draining && s.running.doc != nil
		v.demand = s.demand
		v.granted, v.tally = s.mem.Released.cap(s.mem.Applied).Share, s.tally
		v.status = contract.Status{
			UID: s.in.uid, Gen: s.mem.Applied.Gen, Config: revision(s.mem.doc),
			Paused:  s.running.doc != nil && s.running.doc.PgBouncer.Paused,
			Refused: s.relay.refusals(), LettingGo: s.letting, Draining: draining, Problem: s.problem,
		}
	})
}

// Handler serves /healthz, /readyz and /status.
func (s *Supervisor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.serveHealth)
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.HandleFunc("GET "+contract.StatusPath, s.serveStatus)
	return mux
}

// serveHealth is false when only a restart can help.
func (s *Supervisor) serveHealth(w http.ResponseWriter, _ *http.Request) {
	v := s.view.look()
	switch {
	case time.Since(v.beat) > s.Silence:
		http.Error(w, "the supervisor is stuck", http.StatusServiceUnavailable)
	case v.running && time.Since(v.lastAnswer) > s.Silence:
		http.Error(w, "PgBouncer does not answer", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n"))
	}
}

// serveReady is true when clients can log in. It logs in to the console, so neither
// a server that is down nor a paused database makes a pod unready: clients then
// wait better here than nowhere.
func (s *Supervisor) serveReady(w http.ResponseWriter, r *http.Request) {
	v := s.view.look()
	if !v.serving {
		why := "PgBouncer is not running"
		if v.status.Gen == 0 {
			why = "waiting for a grant"
		}
		if v.status.Draining {
			why = "draining"
		}
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.admin.Version(ctx); err != nil {
		http.Error(w, "PgBouncer does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// serveStatus answers who knows the pool's key. No answer is no acknowledgement: a
// PgBouncer that runs and can not be asked gives none.
func (s *Supervisor) serveStatus(w http.ResponseWriter, r *http.Request) {
	v := s.view.look()
	if len(v.keys) == 0 {
		http.NotFound(w, r)
		return
	}
	for _, key := range v.keys {
		if contract.VerifyRequest(r, key) {
			s.answer(w, r, v, key)
			return
		}
	}
	http.Error(w, "the request is not signed with the pool's key", http.StatusForbidden)
}

func (s *Supervisor) answer(w http.ResponseWriter, r *http.Request, v state, key []byte) {
	status, err := s.account(r.Context(), v)
	if err != nil {
		http.Error(w, "PgBouncer does not answer", http.StatusServiceUnavailable)
		return
	}
	body, err := json.Marshal(status)
	if err != nil {
		http.Error(w, "the status can not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	contract.SignResponse(w, r, key, body)
	_, _ = w.Write(body)
}

// account adds to the status what PgBouncer reports now. The gen is older than the
// numbers, so that it never vouches for numbers that it has yet to bring about.
func (s *Supervisor) account(ctx context.Context, v state) (contract.Status, error) {
	if !v.running {
		return v.status, nil
	}
	sample, err := s.admin.Sample(ctx)
	if err != nil {
		return v.status, err
	}
	return v.account(sample), nil
}

func (v state) account(sample pgbouncer.Sample) contract.Status {
	status := v.status
	for _, db := range sample.Databases {
		status.Cap += max(db.MaxConnections, db.PoolSize)
		status.Current += db.CurrentConnections
		status.Clients += db.CurrentClientConnections
	}
	for _, pool := range sample.Pools {
		status.Active += pool.ServersActive
		status.Waiting += pool.ClientsWaiting
	}
	status.Paused = status.Paused && isPaused(sample)
	now := needIn(sample, time.Now())
	status.Peak, status.Starved = v.demand.peak(now), v.demand.starved(now)
	status.LettingGo = stillAbove(status.LettingGo, sample)
	return status
}

// stillAbove counts anew what was waited for at the last tick.
func stillAbove(letting *contract.LettingGo, sample pgbouncer.Sample) *contract.LettingGo {
	over := sum(above(sample.Databases))
	if letting == nil || over == 0 {
		return nil
	}
	return &contract.LettingGo{Connections: over, PID: letting.PID, Since: letting.Since}
}
