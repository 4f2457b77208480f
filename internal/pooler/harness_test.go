// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/pooler"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	serverPassword = "s3cret'of\"the;server"
	clientPassword = "s3cret of the client"
	// patience is for a busy machine; nothing waits for it when all is well.
	patience = 60 * time.Second
)

var statusKey = []byte("the pool's key of thirty-two byte")

// A pod is a pooler as a pod would run it, with the files the kubelet would mount.
type pod struct {
	t       *testing.T
	uid     string
	options pooler.Options
	log     *testenv.Buffer
	// granted and peers are the pod's annotations.
	granted, peers string
	// as is what all clients have in common; nil is nothing.
	as func(*pgx.ConnConfig)

	mu       sync.Mutex
	commands []*exec.Cmd

	cancel context.CancelFunc
	ended  chan error
}

// aPod has its uid, and no grant and no configuration.
func aPod(t *testing.T) *pod {
	t.Helper()
	root := testenv.Rootfs(t, "pgbouncer")
	outside, _ := testenv.RunDir(t, root)
	p := &pod{t: t, uid: "uid-of-" + filepath.Base(outside), log: &testenv.Buffer{}}
	p.options = pooler.Options{
		ConfigDir: t.TempDir(), PodDir: t.TempDir(), RunDir: outside, Root: root,
		ClientPort:    testenv.FreePort(t),
		StatusAddress: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), MetricsAddress: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)),
		PgBouncer:    testenv.PgBouncerPath,
		DrainTimeout: 40 * time.Second, SpreadTime: 200 * time.Millisecond, UnreadyTime: time.Millisecond, PollInterval: time.Second,
		Dial: testenv.DialInside(t, root),
		Log:  slog.New(slog.NewJSONHandler(p.log, nil)),
		Command: func(name string, args ...string) *exec.Cmd {
			cmd := testenv.Command(t, root, name, args...)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.commands = append(p.commands, cmd)
			return cmd
		},
	}
	p.publishPod()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the pooler's log:\n%s", p.log)
		}
	})
	return p
}

// publish swaps a directory's files as the kubelet does.
func publish(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	version := filepath.Join(dir, fmt.Sprintf("..%d", time.Now().UnixNano()))
	if err := os.Mkdir(version, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(version, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // It stays.
	}
	if err := os.Symlink(filepath.Base(version), filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

// start runs the pooler, as a container's start does.
func (p *pod) start() *pod {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan error, 1)
	go func() { p.ended <- pooler.New(p.options).Run(ctx) }()
	return p
}

// stop ends the pooler as SIGTERM does, and waits for it.
func (p *pod) stop() {
	p.t.Helper()
	p.cancel()
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("the pooler ended with %v", err)
		}
	case <-time.After(patience):
		p.t.Fatal("the pooler does not end")
	}
	p.cancel = nil
}

// kill ends all there is, whatever state it is in.
func (p *pod) kill() {
	if p.cancel == nil {
		return
	}
	p.cancel()
	for p.cancel != nil {
		p.killPgBouncer()
		select {
		case err := <-p.ended:
			p.t.Logf("the pooler was ended: %v", err)
			p.cancel = nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// console is PgBouncer's, past the pooler.
func (p *pod) console() pgbouncer.Admin {
	return pgbouncer.Admin{SocketDir: strings.TrimPrefix(p.options.RunDir, p.options.Root), Port: p.options.ClientPort, Dial: p.options.Dial}
}

func (p *pod) killPgBouncer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cmd := range p.commands {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	}
}

// signalPgBouncer reaches the PgBouncer that was started last.
func (p *pod) signalPgBouncer(signal os.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.commands[len(p.commands)-1].Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// starts is how often PgBouncer was started.
func (p *pod) starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.commands)
}

// config lays down a configuration and returns its revision.
func (p *pod) config(cfg pgbouncer.Config) string {
	p.t.Helper()
	return p.lay(contract.Document{Version: contract.DocumentVersion, StatusKey: statusKey, PgBouncer: cfg})
}

// lay lays down a whole document and returns its revision.
func (p *pod) lay(doc contract.Document) string {
	p.t.Helper()
	data, revision, err := doc.Encode()
	if err != nil {
		p.t.Fatal(err)
	}
	publish(p.t, p.options.ConfigDir, map[string]string{contract.ConfigKey: string(data)})
	return revision
}

// grant lays down a grant of this pod's own.
func (p *pod) grant(gen int64, share int32, config string) {
	p.t.Helper()
	p.annotate(contract.Grant{UID: p.uid, Gen: gen, Share: share, Config: config})
}

func (p *pod) annotate(g contract.Grant) {
	p.t.Helper()
	p.granted = g.Encode()
	p.publishPod()
}

// publishPod lays down what stands in the pod's annotations.
func (p *pod) publishPod() {
	p.t.Helper()
	publish(p.t, p.options.PodDir, map[string]string{contract.UIDFile: p.uid, contract.GrantFile: p.granted, contract.PeersFile: p.peers})
}

// get asks the pooler over HTTP; key signs the request where there is one.
func (p *pod) get(path string, key []byte) (status int, body string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.options.StatusAddress+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	nonce := fmt.Sprint(time.Now().UnixNano())
	if key != nil {
		contract.SignRequest(request, key, nonce)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	if key != nil && response.StatusCode == http.StatusOK {
		data, err := contract.ReadResponse(response, key, nonce)
		if err != nil {
			p.t.Error(err)
		}
		return response.StatusCode, string(data)
	}
	data, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(data)
}

func (p *pod) ready() bool {
	status, _ := p.get("/readyz", nil)
	return status == http.StatusOK
}

// status is the pod's signed account of itself; ok is false where it gives none.
func (p *pod) status() (s contract.Status, ok bool) {
	p.t.Helper()
	code, body := p.get(contract.StatusPath, statusKey)
	if code != http.StatusOK {
		return s, false
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		p.t.Fatal(err)
	}
	return s, true
}

// await waits until the pod's status is as described.
func (p *pod) await(what string, is func(contract.Status) bool) contract.Status {
	p.t.Helper()
	var last contract.Status
	eventually(p.t, what, func() bool {
		s, ok := p.status()
		last = s
		return ok && is(s)
	}, func() string { return fmt.Sprintf("the last status is %+v", last) })
	return last
}

// runs waits until a grant is in force, with its whole share.
func (p *pod) runs(gen int64, share int32) {
	p.t.Helper()
	p.await(fmt.Sprintf("grant %d of %d is in force", gen, share), func(s contract.Status) bool { return s.Gen == gen && s.Cap == share })
}

func eventually(t *testing.T, what string, is func() bool, say ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			text := ""
			for _, f := range say {
				text += "; " + f()
			}
			t.Fatalf("waited in vain until %s%s", what, text)
		}
	}
}

// client opens a connection through the pooler.
func (p *pod) client(database string, change ...func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	p.t.Helper()
	config, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=client database=%s sslmode=disable", p.options.ClientPort, database))
	if err != nil {
		p.t.Fatal(err)
	}
	config.Password = clientPassword
	if p.as != nil {
		p.as(config)
	}
	for _, f := range change {
		f(config)
	}
	conn, err := pgx.ConnectConfig(p.t.Context(), config)
	if err == nil {
		p.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

// aServer is a PostgreSQL with the role and the databases of aConfig.
func aServer(t *testing.T, databases ...string) *testenv.PostgresServer {
	t.Helper()
	server := testenv.Postgres(t, map[string]string{"max_connections": "100"})
	prepare(t, server, databases...)
	return server
}

func prepare(t *testing.T, server *testenv.PostgresServer, databases ...string) {
	t.Helper()
	server.Exec(t, "create role app login password '"+strings.ReplaceAll(serverPassword, "'", "''")+"'")
	for _, name := range append(databases, "shop") {
		server.Exec(t, "create database "+name+" owner app")
	}
}

// aConfig is for databases of a server; nil stands for one that nobody answers for.
func aConfig(server *testenv.PostgresServer, databases ...string) pgbouncer.Config {
	cfg := pgbouncer.Config{
		Server:               pgbouncer.Server{Host: "127.0.0.1", Port: 1, User: "app", Password: serverPassword, TLSMode: "disable"},
		Mode:                 pgbouncer.ModeTransaction,
		Users:                []pgbouncer.User{{Name: "client", Password: clientPassword}},
		MaxClientConnections: 500,
	}
	if server != nil {
		cfg.Server.Port = server.Port
	}
	for _, name := range append(databases, "shop") {
		cfg.Databases = append(cfg.Databases, pgbouncer.Database{Name: name, Database: name})
	}
	return cfg
}

// load runs clients without pause until the test says stop, and counts.
type load struct {
	stop    context.CancelFunc
	clients sync.WaitGroup

	mu       sync.Mutex
	queries  int
	failures []string
}

func (p *pod) load(clients int, query string, databases ...string) *load {
	p.t.Helper()
	return p.work(clients, func(_ int, conn *pgx.Conn) error {
		_, err := conn.Exec(context.Background(), query)
		return err
	}, databases...)
}

// work is a load of what each of the clients does.
func (p *pod) work(clients int, do func(client int, conn *pgx.Conn) error, databases ...string) *load {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel}
	for i := range clients {
		conn, err := p.client(databases[i%len(databases)])
		if err != nil {
			p.t.Fatalf("connecting a client: %v", err)
		}
		l.clients.Go(func() {
			defer func() { _ = conn.Close(context.Background()) }() // In session mode others wait for it.
			for ctx.Err() == nil {
				err := do(i, conn)
				l.count(err)
				if err != nil {
					return
				}
			}
		})
	}
	return l
}

func (l *load) count(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queries++
	if err != nil {
		l.failures = append(l.failures, err.Error())
	}
}

// end stops the clients and fails the test where a query failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.clients.Wait()
	slices.Sort(l.failures)
	t.Logf("%d queries, %d failed %v", l.queries, len(l.failures), slices.Compact(l.failures))
	if len(l.failures) > 0 {
		t.Errorf("%d of %d queries failed", len(l.failures), l.queries)
	}
	if l.queries == 0 {
		t.Error("no query was run")
	}
}
