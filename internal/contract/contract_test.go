// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func TestADocumentSurvivesItsTravel(t *testing.T) {
	document := contract.Document{
		Version: contract.DocumentVersion, StatusKey: []byte("key"),
		PgBouncer: pgbouncer.Config{
			Server:    pgbouncer.Server{Host: "db", Port: 5432, User: "shop", Password: "it's", TLSMode: "require"},
			Databases: []pgbouncer.Database{{Name: "shop", Database: "shop"}}, Mode: pgbouncer.ModeTransaction,
		},
	}
	data, revision, err := document.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := contract.DecodeDocument(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(document, got); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	if revision != contract.Revision(data) || revision == contract.Revision(append(data, ' ')) {
		t.Errorf("revision %s does not name these very bytes", revision)
	}
}

func TestANewerDocumentIsRefusedAndAnUnknownFieldIsNot(t *testing.T) {
	if _, err := contract.DecodeDocument([]byte(`{"version":2}`)); err == nil || !strings.Contains(err.Error(), "upgrade the pooler image") {
		t.Errorf("got %v", err)
	}
	if _, err := contract.DecodeDocument([]byte(`{"version":1,"later":true}`)); err != nil {
		t.Error(err)
	}
}

func TestABrokenDocumentIsNotQuoted(t *testing.T) {
	_, err := contract.DecodeDocument([]byte(`{"version":1,"pgbouncer":{"server":{"port":"s3cret"}}}`))
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

func TestGrants(t *testing.T) {
	want := contract.Grant{UID: "u", Gen: 4, Share: 46, Config: "c"}
	got, err := contract.DecodeGrant(want.Encode())
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if none, err := contract.DecodeGrant(""); err != nil || none != (contract.Grant{}) {
		t.Errorf("no annotation grants %+v, %v", none, err)
	}
	for _, bad := range []string{"x", `{"share":-1}`, `{"gen":-1}`} {
		if _, err := contract.DecodeGrant(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestPoolersIgnoreWhatStandsBesideAGrantForTheManager(t *testing.T) {
	grant := contract.Grant{UID: "u", Gen: 4, Share: 2, Config: "c"}
	text := contract.Annotation{Grant: grant, Held: 5}.Encode()
	if got, err := contract.DecodeGrant(text); err != nil || got != grant {
		t.Errorf("a pooler reads %+v, %v", got, err)
	}
	for text, held := range map[string]int32{
		text:           5,
		grant.Encode(): 2,
		`{"uid":"u","gen":4,"share":2,"config":"c","held":-1}`:          2,
		`{"uid":"u","gen":4,"share":2,"config":"c","held":"x"}`:         2,
		`{"uid":"u","gen":4,"share":2,"config":"c","held":99999999999}`: 2,
	} {
		if got, err := contract.DecodeAnnotation(text); err != nil || got != (contract.Annotation{Grant: grant, Held: held}) {
			t.Errorf("the manager reads %s as %+v, %v", text, got, err)
		}
	}
	if _, err := contract.DecodeAnnotation("x"); err == nil {
		t.Error("what is no grant was taken")
	}
}

func TestTheStatusIsAuthenticatedBothWays(t *testing.T) {
	key, other := []byte("the pool's key"), []byte("another key")
	answering := key
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !contract.VerifyRequest(r, key) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body := []byte("I am well")
		contract.SignResponse(w, r, answering, body)
		_, _ = w.Write(body)
	}))
	defer server.Close()
	ask := func(key []byte, sent, expected string) (string, error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		contract.SignRequest(req, key, sent)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = io.Copy(io.Discard, resp.Body); _ = resp.Body.Close() }()
		body, err := contract.ReadResponse(resp, key, expected)
		return string(body), err
	}

	if body, err := ask(key, "n1", "n1"); err != nil || body != "I am well" {
		t.Errorf("the right key: %q, %v", body, err)
	}
	if _, err := ask(other, "n1", "n1"); err == nil {
		t.Error("a stranger was answered")
	}
	if _, err := ask(key, "n1", "n2"); err == nil {
		t.Error("an answer to an older question was believed")
	}
	answering = other
	if _, err := ask(key, "n1", "n1"); err == nil {
		t.Error("a stranger's answer was believed")
	}
}
