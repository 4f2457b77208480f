// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// A gate is the gateway's /sql before a site, on plain HTTP.
type gate struct {
	*site
	HTTP *edge.HTTP
	URL  string
}

func aGate(t testing.TB, s *site, options ...func(*edge.HTTP)) *gate {
	t.Helper()
	handler := &edge.HTTP{
		Directory: s.Directory, Connections: connectionsTo(s.Directory, &edge.Door{Timeout: patience}),
		Limiter: &edge.Limiter{}, Limits: edge.DefaultHTTPLimits,
	}
	for _, option := range options {
		option(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { server.Close(); handler.Connections.Close() })
	return &gate{site: s, HTTP: handler, URL: server.URL + "/sql"}
}

func connectionsTo(directory *edge.Directory, door *edge.Door) *edge.Connections {
	return &edge.Connections{Directory: directory, Door: door, Limits: edge.DefaultKeptLimits}
}

// Names of headers, as the driver sends them.
const (
	connectionString = "Neon-Connection-String"
	rawText          = "Neon-Raw-Text-Output"
	arrayMode        = "Neon-Array-Mode"
)

// asDriver is what the driver sends with every request.
func (g *gate) asDriver() http.Header {
	return http.Header{connectionString: {g.url()}, rawText: {"true"}, arrayMode: {"true"}}
}

func with(header http.Header, name, value string) http.Header {
	header = header.Clone()
	header.Set(name, value)
	return header
}

// request has the headers and a body that is encoded as JSON where it is no string.
func (g *gate) request(t testing.TB, header http.Header, body any) *http.Request {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL, bytes.NewReader([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	return r
}

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
}

// post returns what comes and its body, and checks what every answer has.
func (g *gate) post(t testing.TB, header http.Header, body any) (reply, string) {
	t.Helper()
	response, err := http.DefaultClient.Do(g.request(t, header, body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("allowed origin %q", got)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	if !json.Valid(answer) {
		t.Errorf("the answer is not JSON: %s", answer)
	}
	return reply{response.StatusCode, response.Header}, string(answer)
}

// query is a body with one statement.
func query(text string, params ...any) map[string]any {
	body := map[string]any{"query": text}
	if params != nil {
		body["params"] = params
	}
	return body
}

func batch(queries ...map[string]any) map[string]any {
	return map[string]any{"queries": append([]map[string]any{}, queries...)}
}

// rows runs a statement as the driver does, and returns the rows as JSON.
func (g *gate) rows(t testing.TB, text string, params ...any) string {
	t.Helper()
	response, answer := g.post(t, g.asDriver(), query(text, params...))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d: %s", text, response.StatusCode, answer)
	}
	return member(t, answer, "rows")
}

// member is one of an object's.
func member(t testing.TB, object, name string) string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &members); err != nil {
		t.Fatalf("reading %s: %v", object, err)
	}
	return string(members[name])
}

// equal compares JSON by what it means.
func equal(t testing.TB, what, want, got string) {
	t.Helper()
	var values [2]any
	for i, text := range []string{want, got} {
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		if err := decoder.Decode(&values[i]); err != nil {
			t.Fatalf("%s: reading %s: %v", what, text, err)
		}
	}
	if diff := cmp.Diff(values[0], values[1]); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
