// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// visitor is a worker that knows the pool by what was published of it.
type visitor struct {
	*story
	// url is the pool's at the gateway, with user and password, and sql the gateway's /sql.
	url url.URL
	sql string
	// kept keeps its connections, fresh makes one for each request.
	kept, fresh *http.Client
}

func newVisitor(t *testing.T, s *story, edge install.Edge, authority []byte) *visitor {
	t.Helper()
	published, err := url.Parse(string(s.published(t, s.pool).Data["EDGE_URL"]))
	if err != nil || published.Hostname() != s.pool.Status.Edge.Host {
		t.Fatalf("the published URL does not lead to %s", s.pool.Status.Edge.Host)
	}
	return &visitor{
		story: s, url: *published, sql: "https://api." + edge.Domain + "/sql",
		kept: s.edgeClient(authority, true), fresh: s.edgeClient(authority, false),
	}
}

// edgeClient comes to the gateway's Service by every name, and trusts the authority alone.
func (w *world) edgeClient(authority []byte, keep bool) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return w.dialer.DialContext(ctx, network, install.Gateway+"."+install.Namespace+".svc:443")
		},
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: !keep,
	}}
}

// sqlAnswer is what the gateway says to a query, or of what is wrong with it.
type sqlAnswer struct {
	Status        int
	Rows          []map[string]any
	Code, Message string
}

// post asks for 41 + 1 as the Neon serverless driver does that is given the URL.
func (v *visitor) post(ctx context.Context, c *http.Client, at url.URL) (sqlAnswer, error) {
	body := bytes.NewReader([]byte(`{"query": "select $1::int + 1 as n", "params": ["41"]}`))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.sql, body)
	if err != nil {
		return sqlAnswer{}, err
	}
	request.Header.Set("Neon-Connection-String", at.String())
	response, err := c.Do(request)
	if err != nil {
		return sqlAnswer{}, err
	}
	defer response.Body.Close()
	got := sqlAnswer{Status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return got, fmt.Errorf("reading an answer with status %d: %w", response.StatusCode, err)
	}
	return got, nil
}

// posted is what became of a client's requests.
type posted struct {
	answered int
	failures []error
}

// betweenPosts of a client there is time that leaves several of them below what one address
// may begin in a second.
const betweenPosts = 5 * time.Millisecond

// keepPosting sends one request after the other until the context ends, or too many have failed.
func (v *visitor) keepPosting(ctx context.Context, c *http.Client) posted {
	var count posted
	for ctx.Err() == nil && len(count.failures) < 10 {
		got, err := v.post(ctx, c, v.url)
		switch {
		case ctx.Err() != nil: // Cut by the end of the test.
		case err != nil:
			count.failures = append(count.failures, err)
		case got.Status != http.StatusOK:
			count.failures = append(count.failures, fmt.Errorf("status %d: %s", got.Status, got.Message))
		default:
			count.answered++
		}
		time.Sleep(betweenPosts)
	}
	return count
}
