// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

const (
	// probeEvery is the pause between two tries to log in while clients are held, and the
	// first where the server has no room: it doubles then, to longestWithout.
	// probeTimeout is how long each may take.
	probeEvery   = 100 * time.Millisecond
	probeTimeout = 5 * time.Second
	// countTimeout is how long a try may count the server's connections, which is less
	// than admission waits for others to go: those that only ask are not to be in the way.
	countTimeout = 90 * time.Millisecond
	// keptFor is how long a try that worked keeps its place for PgBouncer's login, which
	// waits a moment for it to go where there is no other.
	keptFor = 150 * time.Millisecond
	// wantedFor is how long after the last client waited a hold goes on. A server that
	// went to sleep is not to be woken for nobody.
	wantedFor = 2 * time.Second
	// longestHold is for clients that wait without end.
	longestHold = 30 * time.Second
	// doubtFor is how long PgBouncer may take to close a connection that it calls lost.
	doubtFor = 300 * time.Millisecond
	// tryAtOnce stands in for the interval between logins once one has worked.
	tryAtOnce = 10 * time.Millisecond
)

// hold keeps clients waiting when the last server connection is lost, and at the end of
// a pause, until a login works: the server restarts, has another password or no room. A login that the server
// refuses makes PgBouncer turn away all who wait while it has no other connection,
// and all who come until one succeeds. So it pauses, and we log in by ourselves: it
// has no connection that this could be one too many beside. It lasts no longer than
// a client would wait. Source: PgBouncer's server.c (kill_pool_logins), objects.c
// (check_fast_fail, find_server).
type hold struct {
	// since is when it began; zero is none. wanted is when a client waited last. spent
	// says that it was of no use, so that PgBouncer is left alone until a login has
	// succeeded.
	since, wanted time.Time
	spent         bool
	// seen are the losses dealt with, doubt is until when the last of them may mean that
	// there is no connection. had is what there was at the last look.
	seen  int64
	doubt time.Time
	had   logins
	// found is told the password that worked, or the error; nil while nobody asks.
	found chan finding
	next  time.Time
	pause time.Duration
}

type finding struct {
	password string
	err      error
}

func (h hold) on() bool { return !h.since.IsZero() }

// watches says that it matters how many connections there are.
func (h hold) watches(now time.Time) bool { return h.on() || h.spent || now.Before(h.doubt) }

// oneLogin says that all logins at the server are by one role: not each client's own,
// and somebody's.
func (s *Supervisor) oneLogin() bool {
	cfg := s.running.doc.PgBouncer
	return cfg.Server.User != "" && !cfg.Paused && s.leaving == nil
}

// endure deals with lost connections and with passwords. Acted is true where the
// interval between logins was set for it.
func (s *Supervisor) endure(ctx context.Context) (acted bool, err error) {
	h, lost, now := &s.hold, s.relay.losses(), time.Now()
	if !s.oneLogin() {
		s.hold, s.passwords.answered = hold{seen: lost}, s.relay.wrongPasswords()
		return false, nil
	}
	if lost > h.seen {
		h.seen, h.doubt = lost, now.Add(doubtFor)
	}
	if !h.watches(now) && !s.passwords.wrong {
		return false, nil
	}
	have, paused, err := s.holdIfLost(ctx, !h.on() && !h.spent && now.Before(h.doubt))
	if err != nil {
		return false, err
	}
	if have.newest > h.had.newest {
		h.spent = false
	}
	h.had = have
	switch {
	case h.on():
		return s.lookOut(ctx, now)
	case paused:
		h.since, h.wanted, h.next = now, now, now
		s.Log.Warn("no server connection is left: clients wait until a login works")
		return true, nil
	}
	return false, s.mend(ctx, have, now)
}

// holdIfLost looks which connections there are, and has clients wait where there is none
// and they may. PgBouncer may be logging in already, so nothing comes in between.
func (s *Supervisor) holdIfLost(ctx context.Context, may bool) (have logins, paused bool, err error) {
	if !may {
		have, err = s.logins(ctx)
		return have, false, err
	}
	servers, paused, err := s.sentry.PauseUnlessConnected(ctx, s.admin)
	return loginsOf(servers), paused, err
}

// stand has the console's session ready that holdIfLost would wait for. It stands also
// where it is not needed, for PgBouncer lets in one client more than the pool's.
func (s *Supervisor) stand(ctx context.Context) error {
	if s.process == nil || s.running.doc == nil || s.leaving != nil {
		return nil
	}
	return s.sentry.Stand(ctx, s.admin)
}

// rush begins a hold without looking at anything else first: PgBouncer may be logging
// in already, and when it is refused it is too late for those who wait.
func (s *Supervisor) rush(ctx context.Context) {
	if s.process == nil || s.running.doc == nil || s.hold.on() {
		return
	}
	if _, err := s.endure(ctx); err != nil {
		s.problem = s.safe(err)
	}
}

// lookOut sees whether a login works, and ends the hold.
func (s *Supervisor) lookOut(ctx context.Context, now time.Time) (acted bool, err error) {
	h, cfg := &s.hold, s.running.doc.PgBouncer
	select {
	case found := <-h.found:
		h.pause = pauseAfter(found.err, h.pause)
		h.found, h.next = nil, now.Add(h.pause)
		switch {
		case found.err == nil:
			return true, s.welcome(ctx, found.password)
		case !heals(found.err):
			s.Log.Warn("a login does not work", "reason", s.safe(found.err))
			return true, s.letGo(ctx, true)
		}
	default:
	}
	wanted := waiting(*s.sample) > 0
	switch {
	case wanted:
		h.wanted = now
	case now.Sub(h.wanted) > wantedFor:
		return true, s.letGo(ctx, false)
	}
	if now.Sub(h.since) > cmp.Or(cfg.QueryWait(), longestHold) {
		return true, s.letGo(ctx, true)
	}
	if wanted && h.found == nil && now.After(h.next) {
		h.found = make(chan finding, 1)
		passwords := []string{s.passwords.inFiles(cfg.Server.Password)}
		if other := s.passwords.other(); other != "" {
			passwords = append(passwords, other)
		}
		go s.probe(ctx, visit{address: s.address(cfg), countIn: cfg.ConnectQuery}, passwords, h.found)
	}
	return true, nil
}

// heals says that waiting may help.
func heals(err error) bool {
	switch refusalOf(err) {
	case "": // The server is away.
		return true
	case wrongPasswordCode, noRoomCode, endedCode, canceledCode, "57P02", "57P03": // It is being shut down or started.
		return true
	}
	return false
}

// pauseAfter is the time until the next try. Admission ends a connection as an
// administrator would.
func pauseAfter(err error, before time.Duration) time.Duration {
	switch refusalOf(err) {
	case noRoomCode, endedCode, canceledCode:
		return min(max(2*before, probeEvery), longestWithout)
	}
	return probeEvery
}

// refusalOf is the server's SQLSTATE, empty where it did not answer.
func refusalOf(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code
	}
	return ""
}

// SQLSTATEs: invalid_password, too_many_connections, admin_shutdown and query_canceled.
const (
	wrongPasswordCode = "28P01"
	noRoomCode        = "53300"
	endedCode         = "57P01"
	canceledCode      = "57014"
)

// welcome ends a hold with the password that works.
func (s *Supervisor) welcome(ctx context.Context, password string) error {
	if s.passwords.inFiles(s.running.doc.PgBouncer.Server.Password) != password {
		if err := s.swap(ctx); err != nil {
			return err
		}
	}
	s.Log.Info("a login works", "former", s.passwords.swapped)
	return s.letGo(ctx, false)
}

// letGo has PgBouncer log in. Where it is spent another hold takes a login that has
// succeeded.
func (s *Supervisor) letGo(ctx context.Context, spent bool) error {
	err := s.retryAfter(ctx, tryAtOnce)
	if err == nil {
		err = s.admin.ResumeAll(ctx)
	}
	if err == nil {
		s.passwords.answered, s.retries.refused = s.relay.wrongPasswords(), s.relay.refusals()
		s.hold = hold{spent: spent, seen: s.relay.losses(), had: s.hold.had}
	}
	return err
}

// address is the server for pgconn, as PgBouncer reaches it. The password is left out.
func (s *Supervisor) address(cfg pgbouncer.Config) string {
	words := []string{"target_session_attrs=any", "connect_timeout=5"}
	word := func(key, value string) {
		words = append(words, key+"='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)+"'")
	}
	word("host", cfg.Server.Host)
	word("port", strconv.Itoa(int(cfg.Server.Port)))
	word("user", cfg.Server.User)
	word("dbname", cfg.Databases[0].Database)
	word("sslmode", cfg.Server.TLSMode)
	for setting, file := range (pgbouncer.Rendering{Config: cfg, Paths: s.Options.paths()}).ServerTLS() {
		word(setting, filepath.Join(s.Root, file))
	}
	return strings.Join(words, " ")
}

// probe logs in at the server with each of the passwords, until one works.
func (s *Supervisor) probe(ctx context.Context, to visit, passwords []string, found chan<- finding) {
	defer s.relay.wake()
	var err error
	for _, password := range passwords {
		var conn *pgconn.PgConn
		if conn, err = to.login(ctx, password); err == nil {
			found <- finding{password: password}
			time.AfterFunc(keptFor, func() { _ = conn.Close(ctx) })
			return
		}
	}
	found <- finding{err: fmt.Errorf("logging in at the server: %w", err)}
}

func waiting(sample pgbouncer.Sample) (sum int32) {
	for _, pool := range sample.Pools {
		sum += pool.ClientsWaiting
	}
	return sum
}

// visit is a connection to the server as PgBouncer makes them.
type visit struct {
	address string
	// countIn is PgBouncer's connect_query, which may end the connection; empty is none.
	countIn string
}

// login returns a connection that has been counted in. It is closed where there is an error.
func (v visit) login(ctx context.Context, password string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	config, err := pgconn.ParseConfig(v.address)
	if err != nil {
		return nil, err
	}
	config.Password = password
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil || v.countIn == "" {
		return conn, err
	}
	// Not as a startup parameter: the server may be a pooler, which refuses those.
	_, err = conn.Exec(ctx, "set statement_timeout="+strconv.FormatInt(countTimeout.Milliseconds(), 10)).ReadAll()
	if err == nil {
		_, err = conn.Exec(ctx, v.countIn).ReadAll()
	}
	if err == nil || !conn.IsClosed() && refusalOf(err) != canceledCode {
		return conn, nil // A server may not know what is only good to have.
	}
	return nil, errors.Join(err, conn.Close(ctx))
}
