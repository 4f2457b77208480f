// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const (
	planRounds = 6
	// planClient is the version whose plans these are, and of the executor beside ours.
	planClient = "7.10.0"
	// withPrisma has the executor, and a Node.js to run it.
	withPrisma = "../../.cache/accelerate/" + planClient
)

// plans are bodies of POST /query, as Prisma Client sends them for these calls.
var plans = []struct{ file, call string }{
	{"one", "author.findUnique({ where: { id } })"},
	{"page", "book.findMany({ where: { inPrint, title: { contains } }, orderBy, take: 20, include: { author: true } })"},
	{"shelf", "author.findMany({ orderBy, take: 20, include: { books: true } })"},
	{"nested", "author.create({ data: { email, name, books: { create: [book, book] } } })"},
}

// TestQueryPlans: plans a second that the gateway and Prisma's own executor run, how long
// one takes, and what processor time. Both run them through one PgBouncer, and speak
// plain HTTP over kept connections; the gateway also checks the key each time.
func TestQueryPlans(t *testing.T) {
	site := startSite(t)
	site.tabulate(t)
	ours := planner{address: site.bare.address, host: site.inPlain.host, pid: site.bare.pid}
	theirs := startExecutor(t, site)
	for _, plan := range plans {
		body, err := os.ReadFile(filepath.Join("testdata", "plans", plan.file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		ours.body, theirs.body = bytes.TrimSpace(body), bytes.TrimSpace(body)
		if plan.file != "nested" { // What it makes has another id each time.
			answerAlike(t, ours, theirs)
		}
		var speed, half, most, cost pairs
		for turn := range planRounds + 1 {
			var a, b planned
			inTurns(turn, func() { a = ours.measure(t) }, func() { b = theirs.measure(t) })
			if turn == 0 {
				continue // JavaScript is compiled as it runs.
			}
			speed.add(a.perSecond, b.perSecond)
			half.add(a.median, b.median)
			most.add(a.high, b.high)
			cost.add(a.micros, b.micros)
		}
		out := newTable(fmt.Sprintf("%s, for %d clients", plan.call, workers), "\tthe gateway\tthe executor\tratio, median\tsmallest to largest\tturns")
		out.compare("plans", "/s", speed)
		out.compare("latency, median", "ms", half)
		out.compare("latency, 99 of 100", "ms", most)
		out.compare("processor time for a plan", "µs", cost)
		_ = out.Flush()
	}
}

// accelerated is what the gateway answers Prisma's clients with.
func accelerated(directory *edge.Directory, connections *edge.Connections, limiter *edge.Limiter) *accelerate.Handler {
	return &accelerate.Handler{
		Directory: directory, Connections: connections, Limiter: limiter, Limits: edge.DefaultHTTPLimits,
		Transactions: &accelerate.Transactions{Limits: accelerate.DefaultTransactionLimits},
	}
}

// tabulate makes what the plans read and write.
func (s aSite) tabulate(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("testdata/plans/books.sql")
	if err != nil {
		t.Fatal(err)
	}
	config := s.pgbouncer.Copy()
	config.TLSConfig = nil
	one, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = one.Close(context.Background()) }()
	if _, err := one.Exec(t.Context(), string(text)).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// A planner runs plans that it is sent.
type planner struct {
	address, host string
	pid           int
	body          []byte
}

// key is what the gateway is shown.
var key = apikey.Key{Namespace: "demo", Pool: "shop", User: role, Password: password, Database: "shop"}

// client runs the plan over one connection, with a request that is made in advance.
func (p planner) client(ctx context.Context) (*planClientConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	request := fmt.Appendf(nil, "POST /query HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"Authorization: Bearer %s\r\nPrisma-Engine-Hash: %s\r\nX-Capture-Telemetry: error\r\n\r\n%s",
		p.host, len(p.body), key.String(), planClient, p.body)
	return &planClientConn{conn: conn, reader: bufio.NewReader(conn), request: request}, nil
}

type planClientConn struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
}

func (c *planClientConn) run() ([]byte, error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !bytes.HasPrefix(body, []byte(`{"data":`))) {
		err = fmt.Errorf("a plan was answered %s with %.200s", response.Status, body)
	}
	return body, err
}

// answerAlike fails where the same plan has different answers: then its speed says nothing.
func answerAlike(t *testing.T, ours, theirs planner) {
	t.Helper()
	if diff := cmp.Diff(theirs.answer(t), ours.answer(t)); diff != "" {
		t.Fatalf("the answers differ (-the executor +the gateway):\n%s", diff)
	}
}

func (p planner) answer(t *testing.T) (answer any) {
	t.Helper()
	one, err := p.client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer one.conn.Close()
	body, err := one.run()
	if err := errors.Join(err, json.Unmarshal(body, &answer)); err != nil {
		t.Fatal(err)
	}
	return answer
}

// planned is what a round came to: milliseconds, and microseconds of processor time.
type planned struct{ perSecond, median, high, micros float64 }

func (p planner) measure(t *testing.T) planned {
	t.Helper()
	var all sync.Mutex
	var took []float64
	connect := func(ctx context.Context) (client, error) {
		one, err := p.client(ctx)
		if err != nil {
			return client{}, err
		}
		var own []float64
		return client{
			query: func(context.Context) error {
				begun := time.Now()
				_, err := one.run()
				own = append(own, float64(time.Since(begun).Microseconds())/1000)
				return err
			},
			close: func() {
				_ = one.conn.Close()
				all.Lock()
				defer all.Unlock()
				took = append(took, own[min(1, len(own)):]...) // The first only warms up.
			},
		}, nil
	}
	perSecond, micros := rate(t, connect, []int{p.pid})
	slices.Sort(took)
	return planned{perSecond: perSecond, micros: micros[0], median: median(took), high: took[len(took)*99/100]}
}

// startExecutor starts Prisma's own, in Node.js.
func startExecutor(t *testing.T, site aSite) planner {
	t.Helper()
	node := filepath.Join(withPrisma, "bin", "node")
	if _, err := os.Stat(node); err != nil {
		t.Fatalf("finding Prisma's executor, which `make .cache/stamps/accelerate` brings: %v", err)
	}
	database := url.URL{
		Scheme: "postgresql", User: url.UserPassword(role, password),
		Host: fmt.Sprintf("127.0.0.1:%d", site.pgbouncer.Port), Path: "shop",
	}
	cmd := exec.Command("bin/node", "executor.js")
	cmd.Dir, cmd.Env = withPrisma, append(os.Environ(), "DATABASE_URL="+database.String())
	listens, _ := testenv.Listening(t, "the executor", cmd, nil)
	at, err := url.Parse(listens)
	if err != nil {
		t.Fatal(err)
	}
	return planner{address: "127.0.0.1:" + at.Port(), host: at.Host, pid: cmd.Process.Pid}
}
