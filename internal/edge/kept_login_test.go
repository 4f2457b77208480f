// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

// TestALoginThatHasBegunIsOfUseToLaterRequests: of as many requests at once as ever
// before none waits for another, after few.
func TestALoginThatHasBegunIsOfUseToLaterRequests(t *testing.T) {
	g := aGate(t, aSite(t))
	accepted, goOn := oneByOne(t, g.site)
	goOn <- struct{}{}
	g.rows(t, "select 1") // Its connection is kept.
	<-accepted

	busy := g.Postgres.Connect(t, testenv.SuperuserName, testenv.SuperuserPassword, "shop")
	if _, err := busy.Exec(t.Context(), "select pg_advisory_lock(1)"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int)
	ask := func(text string) {
		r := g.request(t, g.asDriver(), query(text))
		go func() {
			status := 0
			if response, err := http.DefaultClient.Do(r); err == nil {
				status = response.StatusCode
				_ = response.Body.Close()
			}
			answered <- status
		}()
	}
	ask("select pg_advisory_xact_lock(1)")
	eventually(t, "the first request has the connection", func() bool { return g.busy(t, "advisory") == 1 })
	ask("select 2")
	<-accepted // The second request logs in, and hears nothing.
	if _, err := busy.Exec(t.Context(), "select pg_advisory_unlock(1)"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status := <-answered; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	if got := len(g.clients(t)); got != 1 {
		t.Errorf("%d connections, before the login goes on", got)
	}
	goOn <- struct{}{}
	eventually(t, "the login that was begun has its connection kept", func() bool { return len(g.clients(t)) == 2 })
	g.together(t, 2, "select 3")
	if got := len(g.clients(t)); got != 2 {
		t.Errorf("%d connections", got)
	}
}

// oneByOne has every connection to the pool wait, once it is accepted, until it may go on.
func oneByOne(t testing.TB, s *site) (accepted <-chan struct{}, goOn chan<- struct{}) {
	t.Helper()
	behind, listener := s.Pool.Address, listening(t)
	s.Pool.Address = listener.Addr().String()
	s.list()
	seen, may := make(chan struct{}, 100), make(chan struct{}, 100)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			seen <- struct{}{}
			go func() {
				defer client.Close()
				select {
				case <-may:
				case <-t.Context().Done():
					return
				}
				server, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", behind)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return seen, may
}
