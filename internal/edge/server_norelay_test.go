// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// aTrap counts who connects to it: nobody should.
func aTrap(t *testing.T) (address string, caught *atomic.Int64) {
	t.Helper()
	listener := listening(t)
	t.Cleanup(func() { _ = listener.Close() })
	var count atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), &count
}

func TestNobodyButAPoolIsDialledWhateverAClientSays(t *testing.T) {
	trap, caught := aTrap(t)
	pools, dialled := aTrap(t)
	// What libpq would heed must not lead elsewhere either.
	host, port, err := splitTrap(trap)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGHOST", host)
	t.Setenv("PGPORT", port)
	t.Setenv("PGHOSTADDR", host)
	directory := &edge.Directory{Domain: domain}
	directory.Replace(map[string]edge.Pool{"shop-web": {Namespace: "web", Name: "shop", Label: "shop-web", Address: pools, MaxConcurrency: 1000}})
	f := aFront(t, directory)
	name := "shop-web." + domain
	for what, connection := range map[string]string{
		"another host":                "postgresql://app:pw@" + trap + "/shop",
		"another port":                "postgresql://app:pw@" + name + ":" + port + "/shop",
		"two hosts":                   "postgresql://app:pw@" + name + "," + trap + "/shop",
		"a host parameter":            "postgresql://app:pw@" + name + "/shop?host=" + host + "&port=" + port + "&hostaddr=" + host,
		"a host before the pool's":    "postgresql://app:pw@" + trap + "@" + name + "/shop",
		"a host after the pool's":     "postgresql://app:pw@" + name + "@" + trap + "/shop",
		"a pool's name under another": "postgresql://app:pw@shop-web.localhost:" + port + "/shop",
		"a name below a pool's":       "postgresql://app:pw@" + host + ".shop-web." + domain + ":" + port + "/shop",
	} {
		for _, at := range []string{"api." + domain, trap, name} {
			header := http.Header{connectionString: {connection}, "Host": {at}, "X-Forwarded-Host": {trap}, "Forwarded": {"host=" + trap}, "X-Forwarded-For": {host}}
			if status, body := do(t, f.Client, http.MethodPost, "https://api."+domain+"/sql", header, secretQuery); status < http.StatusBadRequest {
				t.Errorf("%s at %s: %d: %s", what, at, status, body)
			}
		}
	}
	for _, path := range []string{"/v1?address=" + trap, "/v1?address=" + name + ":" + port, "/v2?address=" + trap, "/v1?address=" + url.QueryEscape(trap+"/"+name), "/v1"} {
		for _, at := range []string{name, trap} {
			tryWebSocket(t, f, path, at, trap)
		}
	}
	if caught.Load() != 0 {
		t.Errorf("a host that is no pool has been dialled %d times", caught.Load())
	}
	if dialled.Load() == 0 {
		t.Error("the pool has not been dialled: this test shows nothing")
	}
}

func splitTrap(address string) (host, port string, err error) {
	parsed, err := url.Parse("tcp://" + address)
	if err != nil {
		return "", "", err
	}
	return parsed.Hostname(), parsed.Port(), nil
}

// tryWebSocket opens one and logs in, or is refused.
func tryWebSocket(t *testing.T, f *front, path, host, forwarded string) {
	t.Helper()
	//nolint:bodyclose // The library says that it need not be.
	ws, _, err := websocket.Dial(t.Context(), "wss://api."+domain+path, &websocket.DialOptions{
		HTTPClient: f.Client, Host: host, HTTPHeader: http.Header{"X-Forwarded-Host": {forwarded}},
	})
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	login := edge.Login{User: "app", Password: "pw", Database: "shop", Parameters: map[string]string{"host": forwarded, "hostaddr": forwarded}}
	send(t, ws, encoded(t, startup(login), &pgproto3.PasswordMessage{Password: "pw"}))
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			return
		}
	}
}
