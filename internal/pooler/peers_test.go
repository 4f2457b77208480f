// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// atOnce is how many clients send their cancel requests in the same moment.
const atOnce = 10

// aFleet is pods that share a port, at addresses of loopback of their own.
func aFleet(t *testing.T, size int, cfg pgbouncer.Config) []*pod {
	t.Helper()
	port := testenv.FreePort(t)
	var pods []*pod
	for i := range size {
		p := aPod(t)
		p.options.ListenAddress, p.options.ClientPort = fmt.Sprintf("127.0.0.%d", i+2), port
		p.as = func(c *pgx.ConnConfig) { c.Host = p.options.ListenAddress }
		pods = append(pods, p.start())
		p.grant(1, atOnce, p.config(cfg))
	}
	for _, p := range pods {
		p.runs(1, atOnce)
	}
	return pods
}

// introduce tells each pod of the others; it gives them the ids from first on.
func introduce(pods []*pod, first int32) {
	for i, p := range pods {
		peers := contract.Peers{UID: p.uid, ID: first + int32(i), Others: map[int32]string{}}
		for j, other := range pods {
			if j != i {
				peers.Others[first+int32(j)] = other.options.ListenAddress
			}
		}
		p.peers = peers.Encode()
		p.publishPod()
	}
	for _, p := range pods {
		eventually(p.t, "PgBouncer knows its peers", func() bool { return len(p.known()) == len(pods)-1 && p.setting("peer_id") == fmt.Sprint(p.id()) })
	}
}

func (p *pod) id() int32 {
	peers, err := contract.DecodePeers(p.peers)
	if err != nil {
		p.t.Fatal(err)
	}
	return peers.ID
}

// known are the peers that PgBouncer has.
func (p *pod) known() map[string]string {
	p.t.Helper()
	rows, err := p.console().Show(p.t.Context(), "PEERS")
	if err != nil {
		p.t.Fatal(err)
	}
	known := map[string]string{}
	for _, row := range rows {
		known[row["peer_id"]] = row["host"]
	}
	return known
}

// cancelAt asks a pod to cancel what a client of any pod is doing, as a Service may
// have it: each connection goes where it will. A hasty one does not wait until the
// request is dealt with, as some drivers do not.
func (p *pod) cancelAt(client *pgx.Conn, hasty bool) {
	p.t.Helper()
	p.cancelKey(binary.BigEndian.AppendUint32(nil, client.PgConn().PID()), client.PgConn().SecretKey(), hasty)
}

func (p *pod) cancelKey(pid, secret []byte, hasty bool) {
	p.t.Helper()
	conn, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", net.JoinHostPort(p.options.ListenAddress, fmt.Sprint(p.options.ClientPort)))
	if err != nil {
		p.t.Error(err)
		return
	}
	defer conn.Close()
	request := binary.BigEndian.AppendUint32(nil, 16)
	request = binary.BigEndian.AppendUint32(request, 80877102)
	if _, err := conn.Write(slices.Concat(request, pid, secret)); err != nil {
		p.t.Error(err)
	}
	if hasty {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn)
}

// cancels counts the queries at one pod that another one ended, of rounds.
func cancels(t *testing.T, server *testenv.PostgresServer, at, by *pod, rounds int) (arrived int) {
	t.Helper()
	type client struct {
		conn   *pgx.Conn
		answer chan error
	}
	var clients []client
	for range rounds {
		conn, err := at.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		c := client{conn, make(chan error, 1)}
		clients = append(clients, c)
		go func() { _, err := c.conn.Exec(t.Context(), "select pg_sleep(5)"); c.answer <- err }()
	}
	eventually(t, "the server runs them all", func() bool { return busy(server.Backends(t)) == rounds })
	var requests sync.WaitGroup
	for i, c := range clients {
		requests.Go(func() { by.cancelAt(c.conn, i%2 == 1) })
	}
	requests.Wait()
	for _, c := range clients {
		if isCanceled(<-c.answer) {
			arrived++
		}
		_ = c.conn.Close(t.Context())
	}
	return arrived
}

func isCanceled(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "57014"
}

func busy(backends []testenv.Backend) (count int) {
	for _, b := range poolersOf(backends) {
		if b.State == "active" {
			count++
		}
	}
	return count
}

func TestACancelArrivesWhicheverPodItReaches(t *testing.T) {
	server := aServer(t)
	pods := aFleet(t, 3, aConfig(server))
	if arrived := cancels(t, server, pods[0], pods[1], 1); arrived != 0 {
		t.Errorf("a cancel arrived without peers: the test shows nothing")
	}
	var before []testenv.Backend
	for round, first := range []int32{1, 40} { // The second time with ids that change under PgBouncer.
		before = poolersOf(server.Backends(t))
		introduce(pods, first)
		arrived := 0
		for i, p := range pods {
			arrived += cancels(t, server, p, pods[(i+1)%3], 5) + cancels(t, server, p, pods[(i+2)%3], 5)
		}
		if arrived != 30 {
			t.Errorf("round %d: %d of 30 cancels arrived", round, arrived)
		}
	}
	after := map[uint32]bool{}
	for _, b := range server.Backends(t) {
		after[b.PID] = true
	}
	for _, b := range before {
		if !after[b.PID] {
			t.Errorf("the server connection %d was closed", b.PID)
		}
	}
	for _, p := range pods {
		if p.starts() != 1 {
			t.Errorf("PgBouncer was started %d times", p.starts())
		}
	}
}

func TestCancelsThatReachAnotherPodAtOnceAllArrive(t *testing.T) {
	server := aServer(t)
	pods := aFleet(t, 3, aConfig(server))
	introduce(pods, 1)
	const rounds = 20
	arrived := 0
	for i := range rounds {
		arrived += cancels(t, server, pods[i%3], pods[(i+1+i%2)%3], atOnce)
	}
	if arrived != rounds*atOnce {
		t.Errorf("%d of %d cancels arrived", arrived, rounds*atOnce)
	}
}

func TestACancelArrivesThroughAPeerThatAsksForTLS(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	cfg := aConfig(server)
	authority := testenv.NewAuthority(t)
	shows(&cfg, "require", authority.Issue(t, "pool.test"))
	pods := aFleet(t, 2, cfg)
	for _, p := range pods {
		p.as = func(c *pgx.ConnConfig) {
			trusting(authority.CA)(c)
			c.Host = p.options.ListenAddress
		}
	}
	introduce(pods, 1)
	if arrived := cancels(t, server, pods[0], pods[1], 8); arrived != 8 {
		t.Errorf("%d of 8 cancels arrived", arrived)
	}
}

func TestACancelArrivesAtAPodThatDrains(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	pods := aFleet(t, 2, aConfig(server))
	introduce(pods, 1)
	client, err := pods[0].client("shop")
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { _, err := client.Exec(t.Context(), "select pg_sleep(600)"); answer <- err }()
	eventually(t, "the server runs it", func() bool { return busy(server.Backends(t)) == 1 })
	pods[0].cancel()
	eventually(t, "it takes no more clients", func() bool { _, err := pods[0].client("shop"); return err != nil })
	eventually(t, "the cancel arrives", func() bool {
		pods[1].cancelAt(client, false)
		return busy(server.Backends(t)) == 0
	})
	if err := <-answer; !isCanceled(err) {
		t.Errorf("the client was told %v", err)
	}
	_ = client.Close(t.Context())
	pods[0].stop()
}

func TestACancelForAPeerThatIsGoneEndsAndIsToldOf(t *testing.T) {
	t.Parallel()
	pods := aFleet(t, 2, aConfig(nil))
	introduce(pods, 1)
	pods[1].stop()
	pods[0].cancelKey([]byte{0, 2, 0, 0}, []byte{0, 0, 0, 3}, false)
	if said := pods[0].log.String(); !strings.Contains(said, "was not handed on") {
		t.Error("the pooler does not say that it could not hand it on")
	}
}

func TestPeersThatAreNotThisPodsOrMakeNoSenseChangeNothing(t *testing.T) {
	t.Parallel()
	p := aPod(t).start()
	p.grant(1, 5, p.config(aConfig(nil)))
	p.runs(1, 5)
	lay := func(text string) { p.peers = text; p.publishPod() }
	good := contract.Peers{UID: p.uid, ID: 7, Others: map[int32]string{8: "127.0.0.1", 9: "fd00::1"}}
	lay(good.Encode())
	eventually(t, "PgBouncer knows its peers", func() bool { return len(p.known()) == 2 })
	for name, bad := range map[string]string{
		"no JSON":       "{",
		"an own id":     contract.Peers{UID: p.uid, ID: 16384}.Encode(),
		"an id":         contract.Peers{UID: p.uid, ID: 7, Others: map[int32]string{0: "127.0.0.1"}}.Encode(),
		"its own again": contract.Peers{UID: p.uid, ID: 7, Others: map[int32]string{7: "127.0.0.1"}}.Encode(),
		"a setting":     contract.Peers{UID: p.uid, ID: 7, Others: map[int32]string{8: "127.0.0.1\nadmin_users = client"}}.Encode(),
	} {
		lay(bad)
		p.await("it says so of "+name, func(s contract.Status) bool { return strings.Contains(s.Problem, "peer") })
		if len(p.known()) != 2 {
			t.Errorf("%s: it knows %v", name, p.known())
		}
		lay(good.Encode())
		p.await("it is content", func(s contract.Status) bool { return s.Problem == "" })
	}
	p.killPgBouncer()
	eventually(t, "it was started again", func() bool { return p.starts() > 1 })
	p.runs(1, 5)
	if len(p.known()) != 2 {
		t.Errorf("started again it knows %v", p.known())
	}
	lay(contract.Peers{UID: "another", ID: 1, Others: map[int32]string{2: "127.0.0.1"}}.Encode())
	eventually(t, "it knows nobody", func() bool { return len(p.known()) == 0 })
}
