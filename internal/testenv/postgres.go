// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// The superuser of every test server, and its password.
const (
	SuperuserName     = "postgres"
	SuperuserPassword = "superuser-of-a-test" // It opens nothing but servers on loopback that end with their test.
)

// startTimeout is generous: the machine may be busy with other builds.
const startTimeout = time.Minute

// PostgresServer is a real PostgreSQL on loopback TCP, with scram-sha-256 and
// without durability. It ends with the test.
type PostgresServer struct {
	Host string
	Port uint16
	// CA is the certificate, in PEM, to trust for this server; empty without WithTLS.
	CA []byte

	root, inside, outside string

	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{}
	monitor *pgx.Conn
}

// Backend is a row of pg_stat_activity.
type Backend struct {
	PID         uint32
	Database    string
	User        string
	Application string
	State       string
	Query       string
}

// Postgres starts a PostgreSQL with the given settings (as postgresql.conf names
// them, values unquoted).
func Postgres(t testing.TB, settings map[string]string, options ...PostgresOption) *PostgresServer {
	t.Helper()
	var chosen postgresOptions
	for _, option := range options {
		option(&chosen)
	}
	server := newPostgres(t, rootOf(t, chosen.version))
	copyTemplate(t, server.root, server.outside, chosen.version)
	writeConfiguration(t, server, settings, chosen)
	server.startAnywhere(t)
	return server
}

// Standby starts a hot standby that streams from the primary. It has the
// primary's settings, users and certificate. It takes the newest version: the
// others come without pg_basebackup.
func Standby(t testing.TB, primary *PostgresServer) *PostgresServer {
	t.Helper()
	server := newPostgres(t, primary.root)
	server.CA = primary.CA
	cmd := Command(t, server.root, "/usr/bin/pg_basebackup", "--pgdata="+server.inside, "--host="+primary.Host,
		"--port="+strconv.Itoa(int(primary.Port)), "--username="+SuperuserName, "--no-password",
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	cmd.Env = append(cmd.Env, "PGPASSWORD="+SuperuserPassword)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copying the primary: %v\n%s", err, output)
	}
	server.startAnywhere(t)
	primary.awaitStreaming(t)
	return server
}

// awaitStreaming waits until a standby reads the server's log: a standby takes
// connections before it does.
func (s *PostgresServer) awaitStreaming(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.monitorConn(t)
	const query = "select exists (select from pg_stat_replication where state = 'streaming')"
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var streaming bool
		if err := conn.QueryRow(t.Context(), query).Scan(&streaming); err != nil {
			t.Fatalf("looking for the standby: %v", err)
		}
		if streaming {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the standby does not read the primary's log")
		}
	}
}

func newPostgres(t testing.TB, root string) *PostgresServer {
	t.Helper()
	outside, inside := RunDir(t, root)
	server := &PostgresServer{
		Host: "127.0.0.1", root: root,
		outside: filepath.Join(outside, "data"), inside: filepath.Join(inside, "data"),
	}
	t.Cleanup(func() {
		server.stop(t)
		if t.Failed() {
			t.Logf("the last words of PostgreSQL on port %d:\n%s", server.Port, server.logTail())
		}
	})
	return server
}

// Config is for a connection of a user to a database. The environment has no part in it.
func (s *PostgresServer) Config(user, password, database string) *pgx.ConnConfig {
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=x database=x sslmode=disable target_session_attrs=any", s.Host, s.Port))
	if err != nil {
		panic(err) // Nothing in it depends on the caller.
	}
	config.User, config.Password, config.Database = user, password, database
	config.RuntimeParams = map[string]string{"application_name": "testenv"}
	return config
}

// Superuser opens a connection as the superuser and closes it with the test.
func (s *PostgresServer) Superuser(t testing.TB) *pgx.Conn {
	t.Helper()
	return s.Connect(t, SuperuserName, SuperuserPassword, "postgres")
}

// Connect opens a connection and closes it with the test.
func (s *PostgresServer) Connect(t testing.TB, user, password, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), s.Config(user, password, database))
	for begun := time.Now(); isFull(err) && time.Since(begun) < roomTimeout; {
		time.Sleep(time.Millisecond)
		conn, err = pgx.ConnectConfig(t.Context(), s.Config(user, password, database))
	}
	if err != nil {
		t.Fatalf("connecting to PostgreSQL as %s: %v", user, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// roomTimeout is for backends of connections that were closed or refused: each takes a
// place until its process has ended.
const roomTimeout = 10 * time.Second

func isFull(err error) bool {
	said, _ := errors.AsType[*pgconn.PgError](err)
	return said != nil && said.Code == "53300" // too_many_connections
}

// Exec runs statements as the superuser in the database postgres, one by one.
func (s *PostgresServer) Exec(t testing.TB, statements ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.monitorConn(t)
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("running %q: %v", statement, err)
		}
	}
}

// Backends lists the client connections, but for the superuser's that it asks
// with: that one stays open from the first call of Exec or Backends on.
func (s *PostgresServer) Backends(t testing.TB) []Backend {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.monitorConn(t).Query(t.Context(), `
		select pid, coalesce(datname, ''), coalesce(usename, ''), coalesce(application_name, ''),
		       coalesce(state, ''), coalesce(query, '')
		from pg_catalog.pg_stat_activity
		where backend_type = 'client backend' and pid <> pg_catalog.pg_backend_pid()
		order by pid`)
	if err != nil {
		t.Fatalf("listing the server's connections: %v", err)
	}
	backends, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Backend])
	if err != nil {
		t.Fatalf("listing the server's connections: %v", err)
	}
	return backends
}

// Ask returns the one value that a query yields, as text. It is asked as the
// superuser in the database postgres.
func (s *PostgresServer) Ask(t testing.TB, query string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer string
	if err := s.monitorConn(t).QueryRow(t.Context(), "select ("+query+")::text").Scan(&answer); err != nil {
		t.Fatalf("asking %q: %v", query, err)
	}
	return answer
}

func (s *PostgresServer) monitorConn(t testing.TB) *pgx.Conn {
	t.Helper()
	if s.monitor != nil && !s.monitor.IsClosed() {
		return s.monitor
	}
	config := s.Config(SuperuserName, SuperuserPassword, "postgres")
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("connecting to PostgreSQL as its superuser: %v", err)
	}
	s.monitor = conn
	return conn
}

// Restart stops the server and starts it again at the same port, with the same data.
func (s *PostgresServer) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.Start(t)
}

// Stop ends the server and every connection to it (fast shutdown). Stopping a
// stopped server does nothing.
func (s *PostgresServer) Stop(t testing.TB) {
	t.Helper()
	s.stop(t)
}

func (s *PostgresServer) stop(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	if s.monitor != nil {
		_ = s.monitor.Close(context.Background())
		s.monitor = nil
	}
	_ = s.process.Process.Signal(syscall.SIGINT)
	select {
	case <-s.exited:
	case <-time.After(startTimeout):
		t.Errorf("PostgreSQL on port %d did not stop within %v and was killed", s.Port, startTimeout)
		_ = s.process.Process.Kill()
		<-s.exited
	}
	s.process = nil
}

// Start starts a stopped server again, at the same port.
func (s *PostgresServer) Start(t testing.TB) {
	t.Helper()
	if err := s.start(t); err != nil {
		t.Fatalf("starting PostgreSQL: %v\n%s", err, s.logTail())
	}
}

// startAnywhere starts the server at a port that nobody has. Between choosing
// and taking it somebody else may be faster, so it tries others.
func (s *PostgresServer) startAnywhere(t testing.TB) {
	t.Helper()
	for range 20 {
		s.Port = FreePort(t)
		err := s.start(t)
		if err == nil {
			return
		}
		if !bytes.Contains(s.logTail(), []byte("Address already in use")) {
			t.Fatalf("starting PostgreSQL: %v\n%s", err, s.logTail())
		}
		_ = os.Remove(s.logFile())
	}
	t.Fatal("starting PostgreSQL: twenty ports in a row were taken by others")
}

func (s *PostgresServer) start(t testing.TB) error {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return errors.New("it is running already")
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // The server has its own by then.
	cmd := Command(t, s.root, "/usr/bin/postgres", "-D", s.inside, "-c", fmt.Sprintf("port=%d", s.Port))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process, s.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.exited)
	return s.awaitReady()
}

// awaitReady returns when the server takes connections. A server without a free
// connection takes them, too: it says so.
func (s *PostgresServer) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		conn, err := pgx.ConnectConfig(ctx, s.Config(SuperuserName, SuperuserPassword, "postgres"))
		if err == nil {
			return closeAndWait(ctx, conn)
		}
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && refusal.Code != "57P03" { // cannot_connect_now
			return nil
		}
		select {
		case <-s.exited:
			s.process = nil
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("waiting for it to take connections: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// closeAndWait returns when the server has ended the connection, so that it
// shows in no count any more.
func closeAndWait(ctx context.Context, conn *pgx.Conn) error {
	raw, err := conn.PgConn().Hijack()
	if err != nil {
		return err
	}
	defer func() { _ = raw.Conn.Close() }()
	deadline, _ := ctx.Deadline()
	raw.Frontend.Send(&pgproto3.Terminate{})
	if err := errors.Join(raw.Conn.SetDeadline(deadline), raw.Frontend.Flush()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, raw.Conn)
	return err
}

func (s *PostgresServer) logFile() string {
	return filepath.Join(filepath.Dir(s.outside), "log")
}

func (s *PostgresServer) logTail() []byte {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-4000):]
}

// FreePort returns a TCP port of loopback that nobody listens on. It lies below
// the ports that the kernel and Kubernetes hand out, so that only another test
// can take it meanwhile.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	var lastErr error
	for range 100 {
		port := 20000 + rand.IntN(9000)
		var config net.ListenConfig
		listener, err := config.Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			lastErr = err
			continue
		}
		_ = listener.Close()
		return uint16(port)
	}
	t.Fatalf("looking for a free port: %v", lastErr)
	return 0
}
