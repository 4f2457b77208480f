// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

const serverName = "db.failover.test"

// names is a DNS server that knows one name.
type names struct {
	conn    net.PacketConn
	address atomic.Pointer[netip.Addr]
	asked   atomic.Int64
}

// aDNS answers on port 53 of a loopback address that is nobody's.
func aDNS(t *testing.T) *names {
	t.Helper()
	var config net.ListenConfig
	conn, err := config.ListenPacket(t.Context(), "udp4", fmt.Sprintf("%s:53", loopback(53)))
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn}
	t.Cleanup(func() { _ = conn.Close() })
	go n.serve()
	return n
}

// loopback is an address of 127.0.0.0/8 that hardly anybody else has.
func loopback(network byte) netip.Addr {
	return netip.AddrFrom4([4]byte{127, network, byte(rand.IntN(250) + 1), byte(rand.IntN(250) + 1)})
}

func (n *names) serve() {
	question := make([]byte, 512)
	for {
		size, from, err := n.conn.ReadFrom(question)
		if err != nil {
			return
		}
		if answer := n.answer(question[:size]); answer != nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

// answer repeats the question and adds the address, to a question for one of IPv4.
// Source: RFC 1035, 4.1.
func (n *names) answer(question []byte) []byte {
	end := 12
	for end < len(question) && question[end] != 0 {
		end += int(question[end]) + 1
	}
	if end += 5; end > len(question) {
		return nil
	}
	answer := append([]byte{question[0], question[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
	if address := n.address.Load(); address != nil && question[end-3] == 1 {
		n.asked.Add(1)
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4)
		answer = append(answer, address.AsSlice()...)
	}
	return answer
}

func (n *names) leadTo(address netip.Addr) { n.address.Store(&address) }

// forward lets a server be reached at another address, under a port that it shares
// with other servers.
func forward(t *testing.T, at netip.AddrPort, server *testenv.PostgresServer) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(client, fmt.Sprintf("%s:%d", server.Host, server.Port))
		}
	}()
}

func relay(client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp4", to)
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	_, _ = io.Copy(server, client)
	_ = server.Close()
}

// resolvesBy has the pod's PgBouncer ask this DNS server. The setting is none of the
// product's, and can not be changed by RELOAD.
func (p *pod) resolvesBy(n *names) {
	p.t.Helper()
	inner := p.options.Command
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(p.options.RunDir, name), []byte(text), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	write("resolv.conf", "nameserver "+strings.TrimSuffix(n.conn.LocalAddr().String(), ":53")+"\n")
	p.options.Command = func(name string, args ...string) *exec.Cmd {
		inside := strings.TrimPrefix(p.options.RunDir, p.options.Root)
		write("outer.ini", "[pgbouncer]\n%include "+args[0]+"\nresolv_conf = "+inside+"/resolv.conf\n")
		return inner(name, inside+"/outer.ini")
	}
}

func TestANameThatLeadsToAnotherServerIsFollowedThoughTheFirstLivesOn(t *testing.T) {
	t.Parallel()
	dns := aDNS(t)
	first, second := loopback(1), loopback(2)
	port := testenv.FreePort(t)
	for name, at := range map[string]netip.Addr{"first": first, "second": second} {
		server := testenv.Postgres(t, map[string]string{"cluster_name": name})
		prepare(t, server)
		forward(t, netip.AddrPortFrom(at, port), server)
	}
	dns.leadTo(first)
	p := aPod(t)
	p.resolvesBy(dns)
	p.start()
	cfg := aConfig(nil)
	cfg.Server.Host, cfg.Server.Port, cfg.Server.Incarnation = serverName, port, "one"
	p.grant(1, 6, p.config(cfg))
	p.runs(1, 6)
	var elsewhere atomic.Int64
	clients := p.work(20, func(_ int, conn *pgx.Conn) error {
		var name string
		err := conn.QueryRow(t.Context(), "select current_setting('cluster_name')", pgx.QueryExecModeSimpleProtocol).Scan(&name)
		if name == "first" {
			elsewhere.Store(time.Now().UnixNano())
		}
		time.Sleep(2 * time.Millisecond)
		return err
	}, "shop")
	serves := func(address netip.Addr) bool {
		rows, err := p.console().Show(t.Context(), "SERVERS")
		if err != nil || len(rows) == 0 {
			return false
		}
		for _, row := range rows {
			if row["addr"] != address.String() {
				return false
			}
		}
		return true
	}
	eventually(t, "all connections are to the first server", func() bool { return serves(first) })

	dns.leadTo(second)
	cfg.Server.Incarnation = "two"
	told := time.Now()
	p.grant(2, 6, p.config(cfg))
	eventually(t, "all connections are to the second server", func() bool { return serves(second) })
	clients.end(t)
	t.Logf("the first server was asked until %v after the word; names were asked for %d times", time.Unix(0, elsewhere.Load()).Sub(told), dns.asked.Load())
	if got := p.starts(); got != 1 {
		t.Errorf("PgBouncer was started %d times", got)
	}
}

func TestOnlyAnotherIncarnationOfTheSameNameIsAMove(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	gen := int64(0)
	pids := func(change func(*pgbouncer.Server)) (pid uint32) {
		t.Helper()
		change(&cfg.Server)
		gen++
		p.grant(gen, 1, p.config(cfg))
		p.runs(gen, 1)
		conn, err := p.client("shop")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if err := conn.QueryRow(t.Context(), "select pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	begin := pids(func(*pgbouncer.Server) {})
	if known := pids(func(s *pgbouncer.Server) { s.Incarnation = "one" }); known != begin {
		t.Error("a server that becomes known is taken for another")
	}
	eventually(t, "a new incarnation has a connection of its own", func() bool {
		return pids(func(s *pgbouncer.Server) { s.Incarnation = "two" }) != begin
	})
}
