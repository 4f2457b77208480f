// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// sampler watches how many connections the pooler has at the server, from a
// connection of its own.
type sampler struct {
	stop func() (highest map[string]int)
}

// watchServer counts the role's backends by database without pause. "" is all.
func watchServer(t *testing.T, server *testenv.PostgresServer) *sampler {
	t.Helper()
	conn := server.Superuser(t)
	ctx, cancel := context.WithCancel(context.Background())
	highest, done := map[string]int{}, make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			rows, err := conn.Query(context.Background(), "select datname, count(*) from pg_stat_activity where usename = 'app' group by 1")
			if err != nil {
				done <- err
				return
			}
			sum := 0
			for rows.Next() {
				var database string
				var count int
				if err := rows.Scan(&database, &count); err != nil {
					done <- err
					return
				}
				sum += count
				highest[database] = max(highest[database], count)
			}
			highest[""] = max(highest[""], sum)
			time.Sleep(time.Millisecond)
		}
		done <- nil
	}()
	return &sampler{stop: func() map[string]int {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("sampling the server: %v", err)
		}
		return highest
	}}
}

// settled waits until the pod has no more connections than its grant.
func (p *pod) settled(gen int64, share int32) {
	p.t.Helper()
	p.await("it has let go", func(s contract.Status) bool { return s.Gen == gen && s.Cap == share && s.Current <= share })
}

func TestSharesGrowAndShrinkUnderLoadWithinTheirLimitAndWithoutAFailure(t *testing.T) {
	server := aServer(t)
	p := aPod(t).start()
	revision := p.config(aConfig(server))
	p.grant(1, 4, revision)
	p.runs(1, 4)
	clients := p.load(30, "select pg_sleep(0.002)", "shop")
	for i, share := range []int32{16, 3, 9, 1, 12} {
		gen := int64(i + 2)
		p.grant(gen, share, revision)
		p.settled(gen, share)
		// From here on, until the next grant, it holds at the server.
		sampler := watchServer(t, server)
		time.Sleep(time.Second)
		if highest := sampler.stop()[""]; highest > int(share)+1 {
			t.Errorf("share %d: %d server connections", share, highest)
		} else {
			t.Logf("share %d: at most %d server connections", share, highest)
		}
	}
	clients.end(t)
}

func TestADatabaseGetsOnlyWhatAnotherHasLetGo(t *testing.T) {
	server := aServer(t, "second", "third")
	p := aPod(t).start()
	p.grant(1, 12, p.config(aConfig(server, "second"))) // 6 and 6
	p.runs(1, 12)
	clients := p.load(30, "select pg_sleep(0.002)", "second", "shop")
	eventually(t, "the pools are full", func() bool { s, _ := p.status(); return s.Current == 12 })
	sampler := watchServer(t, server)
	p.grant(2, 12, p.config(aConfig(server, "second", "third"))) // 4, 4 and 4
	p.settled(2, 12)
	more := p.load(10, "select pg_sleep(0.002)", "third")
	time.Sleep(time.Second)
	more.end(t)
	clients.end(t)
	highest := sampler.stop()
	t.Logf("at most %v", highest)
	if highest[""] > 12+3 { // A login in flight for each pool.
		t.Errorf("%d server connections of 12", highest[""])
	}
	if highest["third"] < 4 {
		t.Errorf("the new database got %d server connections, want its 4", highest["third"])
	}
}

// others open connections for as long as the server has fewer than most, until stopped.
type others struct {
	taken atomic.Int64
	full  atomic.Bool
	stop  func()
}

func takeAllThatIsFree(t *testing.T, server *testenv.PostgresServer, most int) *others {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o := &others{}
	var taking sync.WaitGroup
	for range 4 {
		monitor := server.Superuser(t)
		taking.Go(func() {
			for ctx.Err() == nil {
				var have int
				err := monitor.QueryRow(context.Background(), "select count(*) from pg_stat_activity where datid > 0 and usesysid > 0").Scan(&have)
				if err != nil {
					t.Errorf("counting: %v", err)
					return
				}
				o.full.Store(have >= most)
				if have < most {
					_ = server.Superuser(t)
					o.taken.Add(1)
				}
			}
		})
	}
	o.stop = func() { cancel(); taking.Wait() }
	return o
}

// visitors come, ask once and go, without pause until stopped.
func (p *pod) visitors(count int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var visits sync.WaitGroup
	for range count {
		visits.Go(func() {
			for ctx.Err() == nil {
				conn, err := p.client("shop")
				if err == nil {
					_, err = conn.Exec(context.Background(), "select pg_sleep(0.01)")
					_ = conn.Close(context.Background())
				}
				if err != nil {
					p.t.Errorf("a visitor: %v", err)
				}
			}
		})
	}
	return func() { cancel(); visits.Wait() }
}

func TestAPoolThatShrinksKeepsWhatItIsLeftThoughOthersTakeAllThatIsFree(t *testing.T) {
	const most, before, after = 36, 24, 8
	server := aServer(t)
	cfg := aConfig(server)
	cfg.ConnectQuery = budget.AdmissionQuery(budget.Admission{Withheld: 100 - most})
	p := aPod(t).start()
	revision := p.config(cfg)
	p.grant(1, before, revision)
	p.runs(1, before)
	clients := p.load(40, "select pg_sleep(0.02)", "shop")
	eventually(t, "the pool is full", func() bool { s, _ := p.status(); return s.Current == before })
	others := takeAllThatIsFree(t, server, most)
	defer others.stop()
	eventually(t, "nothing is free", others.full.Load)
	leave := p.visitors(5)
	defer leave()
	p.grant(2, after, revision)
	p.settled(2, after)
	eventually(t, "others have what it let go of", others.full.Load)
	clients.goesOn(t)
	leave()
	clients.end(t)
	s, _ := p.status()
	t.Logf("it has %d server connections of %d, and was refused %d", s.Current, after, s.Refused)
	if s.Current < after/2 { // A machine that stalls for a moment costs it one or two.
		t.Errorf("it has %d server connections left of %d", s.Current, after)
	}
}

// transaction opens one and returns its backend and how it is ended.
func (p *pod) transaction() (pid int32, commit func() error) {
	p.t.Helper()
	conn, err := p.client("shop")
	if err != nil {
		p.t.Fatal(err)
	}
	tx, err := conn.Begin(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := tx.QueryRow(p.t.Context(), "select pg_backend_pid()").Scan(&pid); err != nil {
		p.t.Fatal(err)
	}
	return pid, func() error { return tx.Commit(context.Background()) }
}

func TestALongTransactionKeepsItsConnectionWhileTheRestShrinksAndIsNamed(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	revision := p.config(aConfig(server))
	p.grant(1, 6, revision)
	p.runs(1, 6)
	begin := time.Now()
	oldest, commitOldest := p.transaction()
	time.Sleep(1100 * time.Millisecond) // PgBouncer tells whole seconds.
	var commits []func() error
	for range 3 {
		_, commit := p.transaction()
		commits = append(commits, commit)
	}
	p.grant(2, 2, revision)
	s := p.await("the lower limit is in force, and what it waits for is named", func(s contract.Status) bool { return s.Gen == 2 && s.LettingGo != nil })
	if s.Cap != 2 || s.Current != 4 || s.Active != 4 {
		t.Errorf("status is %+v, want a cap of 2 and the 4 connections in use", s)
	}
	want := contract.LettingGo{Connections: 2, PID: oldest, Since: s.LettingGo.Since}
	if diff := cmp.Diff(want, *s.LettingGo); diff != "" || s.LettingGo.Since < begin.Unix() || s.LettingGo.Since > begin.Unix()+1 {
		t.Errorf("it began at %d (-want +got):\n%s", begin.Unix(), diff)
	}
	if err := commitOldest(); err != nil {
		t.Errorf("committing: %v", err)
	}
	p.await("the next one is named", func(s contract.Status) bool {
		return s.LettingGo != nil && s.LettingGo.Connections == 1 && s.LettingGo.PID != oldest
	})
	for _, commit := range commits {
		if err := commit(); err != nil {
			t.Errorf("committing: %v", err)
		}
	}
	p.settled(2, 2)
	p.await("nothing is waited for", func(s contract.Status) bool { return s.LettingGo == nil })
}

func TestATransactionThatNeverEndsHoldsUpNothingButItself(t *testing.T) {
	t.Parallel()
	server := aServer(t, "second")
	p := aPod(t)
	p.options.DrainTimeout = 2 * time.Second
	p.start()
	revision := p.config(aConfig(server, "second"))
	p.grant(1, 12, revision) // 6 and 6
	p.runs(1, 12)
	var pids []int32
	for range 4 {
		pid, _ := p.transaction()
		pids = append(pids, pid)
	}
	p.grant(2, 4, revision) // 2 and 2
	time.Sleep(aWhile)
	s := p.await("it says what it waits for", func(s contract.Status) bool { return s.Gen == 2 && s.LettingGo != nil })
	if s.LettingGo.Connections != 2 || !slices.Contains(pids, s.LettingGo.PID) {
		t.Errorf("it waits for %+v, want 2 of %v", *s.LettingGo, pids)
	}
	p.grant(3, 10, revision) // 5 and 5, though 4 are held of 2.
	p.await("a later grant is in force", func(s contract.Status) bool { return s.Gen == 3 && s.Cap == 10 && s.LettingGo == nil })
	p.grant(4, 2, revision)
	p.await("it shrinks again", func(s contract.Status) bool { return s.Gen == 4 && s.Cap == 2 && s.LettingGo != nil })
	p.stop() // Within the drain timeout, or the test fails.
}
