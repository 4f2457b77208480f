// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// withSidecar has a gateway serve the older protocol, and uploads a schema to it.
func (g *gateway) withSidecar(t *testing.T) {
	t.Helper()
	h := g.Handler
	h.Legacy = accelerate.NewLegacy(testenv.AccelerateLegacy(t).Socket, h.Connections, h.Limiter, h.Replicas, edge.DefaultHTTPLimits)
	schema := base64.StdEncoding.EncodeToString([]byte(legacySchema))
	if got := g.send(t, g.request(t, http.MethodPut, legacyPath+"schema", schema)); got.Status != http.StatusOK {
		t.Fatalf("uploading the schema: %+v", got)
	}
}

// startLegacy begins a transaction, and returns the path of its endpoint or nothing.
func (g *gateway) startLegacy(t *testing.T) string {
	t.Helper()
	got := g.post(t, legacyPath+"transaction/start", `{"max_wait":2000,"timeout":15000}`)
	var started struct {
		Proxy struct{ Endpoint string } `json:"data-proxy"`
	}
	if err := json.Unmarshal([]byte(got.Body), &started); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(started.Proxy.Endpoint, "https://"+g.Pool.Label+"."+planDomain)
}

// insertLegacy adds an item in a transaction.
func (g *gateway) insertLegacy(t *testing.T, path, id, name string) {
	t.Helper()
	got := g.post(t, path+"/graphql", raw("insert into item values ("+id+", '"+name+"') returning id"))
	if got.Status != http.StatusOK || !strings.HasPrefix(got.Body, `{"data"`) {
		t.Fatalf("%+v", got)
	}
}

func TestATransactionOfTheOlderProtocolIsServedByAnyReplicaUntilItsOwnHasEnded(t *testing.T) {
	t.Parallel()
	s := aShop(t)
	first, second := twoGateways(t, s)
	first.withSidecar(t)
	second.withSidecar(t)
	path := first.startLegacy(t)
	first.insertLegacy(t, path, "1", "a")
	second.insertLegacy(t, path, "2", "b")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		first.end()
	}()
	eventually(t, "no more begin there", func() bool {
		another := first.startLegacy(t)
		if another != "" {
			first.post(t, another+"/rollback", "")
		}
		return another == ""
	})
	second.insertLegacy(t, path, "3", "c")
	if got := second.post(t, path+"/commit", ""); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	<-ended
	if got := s.names(t); got != "a b c" {
		t.Errorf("there is %q", got)
	}
	if got := second.post(t, path+"/graphql", raw("select 1")); got.Status != http.StatusNotFound || !strings.Contains(got.Body, `"error_code":"P2028"`) {
		t.Errorf("afterwards: %+v", got)
	}
}
