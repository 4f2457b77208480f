// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/apikey"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

func FuzzTransactionPath(f *testing.F) {
	for _, path := range []string{
		"/transaction/0a000007-00112233445566778899aabbccddeeff/query", "/transaction/start", "/transaction//commit", "/transaction/-/rollback",
		"/transaction/a-b/query/more", "/transaction/a%2Fb-c/query", "/transaction/" + strings.Repeat("-", 300) + "/query",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		call, ok := readTransactionPath(path)
		if !ok {
			return
		}
		if call.replica == "" && call.name == "" {
			return
		}
		if again, ok := readTransactionPath(transactionPath + call.replica + "-" + call.name + "/" + call.operation); !ok || again != call {
			t.Errorf("%q is read as %+v, and that as %+v", path, call, again)
		}
		if strings.Contains(call.replica+call.name, "/") {
			t.Errorf("%q has a replica or a name of more than one part: %+v", path, call)
		}
	})
}

func FuzzStart(f *testing.F) {
	for _, body := range []string{
		`{"maxWait":2000,"timeout":5000}`, `{"maxWait":2000,"timeout":5000,"isolationLevel":"SERIALIZABLE","newTxId":"a-b"}`,
		`{"maxWait":1e999}`, `{"maxWait":-0.5,"timeout":null}`, `{"timeout":1e-300,"maxWait":1e300}`, `{"isolationLevel":"SNAPSHOT"}`, `[]`,
	} {
		f.Add([]byte(body))
	}
	limits := DefaultTransactionLimits
	f.Fuzz(func(t *testing.T, body []byte) {
		var options startOptions
		if err := json.Unmarshal(body, &options); err != nil {
			return
		}
		timeout, maxWait, err := options.check(limits)
		if err == nil && (timeout <= 0 || timeout > limits.Timeout || maxWait <= 0 || maxWait > limits.MaxWait) {
			t.Errorf("%s gets %v, and may wait %v", body, timeout, maxWait)
		}
		begin, err := options.begin()
		if _, told := errors.AsType[*queryplan.Error](err); err != nil && !told {
			t.Errorf("%s is refused with %v", body, err)
		}
		if err == nil && len(begin) > len("BEGIN ISOLATION LEVEL READ UNCOMMITTED") {
			t.Errorf("%s begins with %s", body, begin)
		}
	})
}

// FuzzHeaders is of what a stranger sends to a pool that nobody can log in to.
func FuzzHeaders(f *testing.F) {
	const password = "the password of the key"
	key := apikey.Key{Namespace: "web", Pool: "shop", User: "app", Password: password, Database: "shop"}.String()
	f.Add("POST", "/query", "shop-web.edge.test", "Bearer "+key, "7.10.0", "query, tracing", "max-age=1")
	f.Add("GET", "/connection-info", "shop-web.edge.test:443", "bearer "+key[:len(key)-1], "6.19.3", "x", "no-cache")
	f.Add("POST", "/transaction/a-b/commit", "SHOP-WEB.edge.test.", "Basic "+key, "99999999999.0.0", "", "max-age=99999999999999999999")
	f.Add("POST", "/transaction/start", "", "Bearer", "", ",", "stale-while-revalidate=1,max-age")
	f.Add("PUT", "/5.22.0/"+strings.Repeat("a", 64)+"/schema", "shop-web.edge.test", "Bearer "+key, "", "", "")
	directory := &edge.Directory{Domain: "edge.test"}
	directory.Replace(map[string]edge.Pool{"shop-web": {
		Namespace: "web", Name: "shop", Label: "shop-web", Address: "127.0.0.1:1", MaxConcurrency: 10,
	}})
	f.Fuzz(func(t *testing.T, method, path, host, authorization, version, telemetry, policy string) {
		handler := &Handler{
			Directory: directory, Limiter: &edge.Limiter{}, Limits: edge.DefaultHTTPLimits,
			Connections:  &edge.Connections{Directory: directory, Door: &edge.Door{Timeout: time.Minute}, Limits: edge.DefaultKeptLimits},
			Transactions: &Transactions{Limits: DefaultTransactionLimits},
		}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}"))
		request.Method, request.URL.Path, request.Host = method, path, host
		for name, value := range map[string]string{
			"Authorization": authorization, versionHeader: version, "X-Capture-Telemetry": telemetry, "Cache-Control": policy,
		} {
			request.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code < 400 || answer.Code == http.StatusInternalServerError || !json.Valid(answer.Body.Bytes()) {
			t.Errorf("it answers %d: %s", answer.Code, answer.Body)
		}
		if strings.Contains(answer.Body.String(), password) {
			t.Errorf("it tells the password: %s", answer.Body)
		}
	})
}
