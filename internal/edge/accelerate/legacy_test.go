// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// aGatewayAlone has neither pooler nor sidecar.
func aGatewayAlone(t *testing.T, pool edge.Pool) (*legacySite, alone) {
	t.Helper()
	replicas := alone{make(chan string, 1)}
	legacy := accelerate.NewLegacy(filepath.Join(t.TempDir(), "none"), &edge.Connections{}, &edge.Limiter{}, replicas,
		edge.HTTPLimits{RequestBytes: 1000, ResultBytes: 1000, Timeout: time.Minute})
	s := &legacySite{Legacy: legacy}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		legacy.Serve(w, r, accelerate.Session{Pool: pool})
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s, replicas
}

func TestRequestsOfTheOlderProtocolThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := aGatewayAlone(t, edge.Pool{Label: "shop-web", MaxConcurrency: 10})
	unsupported := `{"EngineNotStarted":{"reason":"EngineVersionNotSupported"},"supported":["5","6"]}`
	nothing := `{"error":"there is nothing at this path"}`
	for _, test := range []struct {
		what, method, path, body string
		status                   int
		says                     string
	}{
		{"an old client", http.MethodPost, legacyBase("4.16.2", "") + "graphql", "{}", 404, unsupported},
		{"a newer client", http.MethodPut, legacyBase("7.10.0", "") + "schema", "{}", 404, unsupported},
		{"an unknown action", http.MethodPost, legacyPath + "metrics", "{}", 404, nothing},
		{"more path", http.MethodPost, legacyPath + "graphql/more", "{}", 404, nothing},
		{"a transaction without a replica", http.MethodPost, legacyPath + "itx/abc/commit", "", 404, nothing},
		{"a transaction that climbs", http.MethodPost, legacyPath + "itx/10.0.0.7-abc%2f..%2fx/commit", "", 404, nothing},
		{"the wrong method", http.MethodGet, legacyPath + "graphql", "", 405, `{"error":"this path takes POST"}`},
		{"a schema by POST", http.MethodPost, legacyPath + "schema", "", 405, `{"error":"this path takes PUT"}`},
		{"too much", http.MethodPost, legacyPath + "graphql", strings.Repeat("x", 1001), 413, `more than 1000 bytes`},
	} {
		got := s.send(t, test.method, test.path, test.body)
		if got.Status != test.status || !strings.Contains(got.Body, test.says) {
			t.Errorf("%s: %d %s, want %d %s", test.what, got.Status, got.Body, test.status, test.says)
		}
	}
}

func TestATransactionOfAnotherReplicaIsPassedOn(t *testing.T) {
	t.Parallel()
	s, replicas := aGatewayAlone(t, edge.Pool{Label: "shop-web", MaxConcurrency: 10})
	got := s.post(t, "itx/10.0.0.8-abc/graphql", "{}")
	if name := <-replicas.forwarded; got.Status != http.StatusTeapot || name != "10.0.0.8" {
		t.Errorf("%d by %s", got.Status, name)
	}
	if got := s.post(t, "itx/10.0.0.9-abc/graphql", "{}"); got.Status != http.StatusNotFound || !strings.Contains(got.Body, `"error_code":"P2028"`) {
		t.Errorf("one that is lost: %d %s", got.Status, got.Body)
	}
}

func TestAPoolWithAsManyRequestsAsItMayHasTheClientTryAgain(t *testing.T) {
	t.Parallel()
	s, _ := aGatewayAlone(t, edge.Pool{Label: "shop-web"})
	if got := s.post(t, "graphql", "{}"); got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", got.Status, got.Header, got.Body)
	}
}

// aFakeSidecar answers in the sidecar's place.
func (s *legacySite) aFakeSidecar(t *testing.T, handler http.HandlerFunc) *legacySite {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	other := *s
	other.Sidecar = &testenv.Sidecar{Socket: socket}
	other.serve(t)
	return &other
}

func (s *legacySite) nothingButTheBodyReachesTheSidecar(t *testing.T) {
	type heard struct {
		Method, Path, Body string
		Header             http.Header
		Session            map[string]any
	}
	var got heard
	fake := s.aFakeSidecar(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		session, _ := base64.StdEncoding.DecodeString(strings.Join(r.Header.Values("Poolfleet-Session"), " "))
		r.Header.Del("Poolfleet-Session")
		got = heard{r.Method, r.RequestURI, string(body), r.Header, nil}
		_ = json.Unmarshal(session, &got.Session)
		w.Header().Set("Set-Cookie", "a=b")
		_, _ = w.Write([]byte("{}"))
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fake.URL+legacyPath+"itx/10.0.0.7-abc/graphql?a=b", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "shop-web." + legacyDomain
	for name, value := range map[string]string{
		"Poolfleet-Session": "e30=", "Connection": "Poolfleet-Session, Upgrade", "Upgrade": "websocket", "Authorization": "Bearer key", "X-Forwarded-For": "10.0.0.1",
	} {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	pool := s.Session.Pool
	want := heard{http.MethodPost, strings.TrimSuffix(legacyPath, "/") + "/itx/abc/graphql", "{}", http.Header{"Content-Length": {"2"}}, map[string]any{
		"pool": "web/shop", "host": "127.0.0.1", "port": float64(s.PgBouncer.Port), "tls": true, "authority": pool.Authority, "serverName": "",
		"exclusive": false, "user": "app", "password": legacyPassword, "database": "shop",
		"endpoint": "https://shop-web." + legacyDomain + legacyPath + "itx/10.0.0.7-",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sidecar hears (-want +got):\n%s", diff)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Set-Cookie") != "" || response.Header.Get("Accelerate-Cache-Status") != "none" {
		t.Errorf("the client reads %d %v", response.StatusCode, response.Header)
	}
}

func (s *legacySite) answersAreBounded(t *testing.T) {
	large := s.aFakeSidecar(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) })
	if got := large.post(t, "graphql", "{}"); got.Status != http.StatusUnprocessableEntity || !strings.Contains(got.Body, "more than 1048576 bytes") {
		t.Errorf("one that is too large: %d %.200s", got.Status, got.Body)
	}
	slow := s.aFakeSidecar(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	slow.Legacy.Limits.Timeout = 100 * time.Millisecond
	if got := slow.post(t, "graphql", "{}"); got.Status != http.StatusGatewayTimeout || !strings.Contains(got.Body, "longer than 100ms") {
		t.Errorf("one that does not come: %d %s", got.Status, got.Body)
	}
}
