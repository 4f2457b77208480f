// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestClientsOfTheOlderProtocolAreServed(t *testing.T) {
	t.Parallel()
	s := aLegacySite(t, "--max-schema-bytes=2000")
	t.Run("nothing of a client but its body reaches the sidecar", s.nothingButTheBodyReachesTheSidecar)
	t.Run("answers are bounded in size and time", s.answersAreBounded)
	t.Run("a client uploads its schema and is served", s.aClientUploadsItsSchemaAndIsServed)
	t.Run("errors have the codes that applications look for", s.errorsHaveTheCodesThatApplicationsLookFor)
	t.Run("a transaction is seen when it is committed, and not when it is rolled back", s.aTransactionIsSeenWhenItIsCommittedAndNotWhenItIsRolledBack)
	t.Run("a transaction whose client is gone ends in its time", s.aTransactionWhoseClientIsGoneEndsInItsTime)
	t.Run("another login has no use of a schema or a transaction", s.anotherLoginHasNoUseOfASchemaOrATransaction)
	t.Run("a wrong key reaches no sidecar", s.aWrongKeyReachesNoSidecar)
	t.Run("schemas that are none are refused", s.schemasThatAreNoneAreRefused)
	t.Run("a schema on which the engine breaks ends that engine alone", s.aSchemaOnWhichTheEngineBreaksEndsThatEngineAlone)
	t.Run("options of a transaction are checked", s.optionsOfATransactionAreChecked)
	t.Run("the sidecar logs in to nobody else", s.theSidecarLogsInToNobodyElse)
}

func TestTheSidecarStaysWithinItsLimits(t *testing.T) {
	t.Parallel()
	s := aLegacySite(t, "--max-connections=1", "--max-statement-seconds=2", "--max-result-bytes=1000000", "--max-engines-per-login=1")
	t.Run("a transaction that waited too long for a connection leaves none open", s.aTransactionThatWaitedTooLongForAConnectionLeavesNoneOpen)
	t.Run("a statement that takes too long is cancelled at the server", s.aStatementThatTakesTooLongIsCancelledAtTheServer)
	t.Run("a result that is too large is not gathered", s.aResultThatIsTooLargeIsNotGathered)
	t.Run("what nobody uses makes room, and what is in use stays", s.whatNobodyUsesMakesRoomAndWhatIsInUseStays)
}

func (s *legacySite) aClientUploadsItsSchemaAndIsServed(t *testing.T) {
	create := account("createOne", `{"data":{"id":"a","balance":100,"big":{"$type":"BigInt","value":"9223372036854775807"}}}`)
	missing := s.post(t, "graphql", create)
	if missing.Status != http.StatusNotFound || missing.Body != `{"EngineNotStarted":{"reason":"SchemaMissing"}}` {
		t.Fatalf("before the upload: %d %s", missing.Status, missing.Body)
	}
	s.upload(t)
	for _, step := range []struct{ what, send, want string }{
		{"create", create, `{"data":{"createOneAccount":{"id":"a","balance":100,"big":{"$type":"BigInt","value":"9223372036854775807"},"note":"grün"}}}`},
		{"read nothing", account("findUnique", `{"where":{"id":"b"}}`), `{"data":{"findUniqueAccount":null}}`},
		{"raw", raw("select 1 as one, 'ü' as two"), `{"data":{"queryRaw":{"columns":["one","two"],"types":["int","string"],"rows":[[1,"ü"]]}}}`},
		{
			"a batch", `{"batch":[` + account("findUnique", `{"where":{"id":"a"}}`) + `,` + account("deleteMany", `{}`) + `],"transaction":{}}`,
			`{"batchResult":[{"data":{"findUniqueAccount":{"id":"a","balance":100,"big":{"$type":"BigInt","value":"9223372036854775807"},"note":"grün"}}},` +
				`{"data":{"deleteManyAccount":{"count":1}}}]}`,
		},
	} {
		got := s.post(t, "graphql", step.send)
		if diff := cmp.Diff(step.want, got.Body); diff != "" || got.Status != http.StatusOK || got.Header.Get("Accelerate-Cache-Status") != "none" {
			t.Errorf("%s: %d %v (-want +got):\n%s", step.what, got.Status, got.Header, diff)
		}
	}
}

func (s *legacySite) errorsHaveTheCodesThatApplicationsLookFor(t *testing.T) {
	s.upload(t)
	one := account("createOne", `{"data":{"id":"one","balance":1}}`)
	if got := s.post(t, "graphql", one); got.Status != http.StatusOK {
		t.Fatal(got.Body)
	}
	for _, step := range []struct{ what, send, want string }{
		{"a unique violation", one, "P2002"},
		{"nothing to update", account("updateOne", `{"where":{"id":"nobody"},"data":{"balance":2}}`), "P2025"},
		{"raw statement", raw("selec 1"), "P2010"},
		{"an unknown field", account("findMany", `{"where":{"colour":"red"}}`), "P2009"},
		{"in a batch", `{"batch":[` + one + `],"transaction":{"isolationLevel":"Serializable"}}`, "P2002"},
	} {
		if got := s.post(t, "graphql", step.send); got.Status != http.StatusOK || code(t, got.Body) != step.want {
			t.Errorf("%s: %d %s, want %s", step.what, got.Status, got.Body, step.want)
		}
	}
	if got := s.post(t, "graphql", `{"modelName":`); got.Status != http.StatusBadRequest {
		t.Errorf("what is no JSON: %d %s", got.Status, got.Body)
	}
}

func (s *legacySite) aTransactionIsSeenWhenItIsCommittedAndNotWhenItIsRolledBack(t *testing.T) {
	s.upload(t)
	for end, want := range map[string]string{
		"commit": `{"data":{"findUniqueAccount":{"balance":1}}}`, "rollback": `{"data":{"findUniqueAccount":null}}`,
	} {
		path := s.begin(t, `{"max_wait":2000,"timeout":60000,"isolation_level":"RepeatableRead"}`)
		create := account("createOne", `{"data":{"id":"`+end+`","balance":1}}`)
		if got := s.send(t, http.MethodPost, path+"/graphql", create); got.Status != http.StatusOK || !strings.HasPrefix(got.Body, `{"data"`) {
			t.Fatalf("%s: %d %s", end, got.Status, got.Body)
		}
		read := `{"modelName":"Account","action":"findUnique","query":{"arguments":{"where":{"id":"` + end + `"}},"selection":{"balance":true}}}`
		if got := s.post(t, "graphql", read); got.Body != `{"data":{"findUniqueAccount":null}}` {
			t.Errorf("before the %s others see %s", end, got.Body)
		}
		if got := s.send(t, http.MethodPost, path+"/"+end, ""); got.Status != http.StatusOK {
			t.Errorf("%s: %d %s", end, got.Status, got.Body)
		}
		if got := s.post(t, "graphql", read); got.Body != want {
			t.Errorf("after the %s: %s, want %s", end, got.Body, want)
		}
		if got := s.send(t, http.MethodPost, path+"/graphql", create); code(t, got.Body) != "P2028" {
			t.Errorf("a transaction that has ended: %d %s", got.Status, got.Body)
		}
		if got := s.send(t, http.MethodPost, path+"/commit", ""); got.Status != http.StatusBadRequest || !strings.Contains(got.Body, `"error_code":"P2028"`) {
			t.Errorf("the end of what has ended: %d %s", got.Status, got.Body)
		}
	}
	if got := s.inTransaction(t); got != "0" {
		t.Errorf("%s sessions are left in a transaction", got)
	}
}

func (s *legacySite) aTransactionWhoseClientIsGoneEndsInItsTime(t *testing.T) {
	s.upload(t)
	path := s.begin(t, `{"max_wait":2000,"timeout":1000}`)
	if got := s.send(t, http.MethodPost, path+"/graphql", account("createOne", `{"data":{"id":"gone","balance":1}}`)); !strings.HasPrefix(got.Body, `{"data"`) {
		t.Fatal(got.Body)
	}
	legacyEventually(t, "the transaction is rolled back", func() bool { return s.inTransaction(t) == "0" })
	if got := s.send(t, http.MethodPost, path+"/commit", ""); !strings.Contains(got.Body, `"error_code":"P2028"`) {
		t.Errorf("its end: %d %s", got.Status, got.Body)
	}
}

func (s *legacySite) aTransactionThatWaitedTooLongForAConnectionLeavesNoneOpen(t *testing.T) {
	s.upload(t)
	first := s.begin(t, `{"max_wait":2000,"timeout":60000}`)
	late := s.post(t, "transaction/start", `{"max_wait":100,"timeout":60000}`)
	if late.Status != http.StatusBadRequest || !strings.Contains(late.Body, `"error_code":"P2028"`) {
		t.Errorf("one that has waited: %d %s", late.Status, late.Body)
	}
	if got := s.send(t, http.MethodPost, first+"/commit", ""); got.Status != http.StatusOK {
		t.Errorf("the first: %d %s", got.Status, got.Body)
	}
	// The one connection serves others again only if nobody waits with it.
	if got := s.post(t, "graphql", raw("select 1 as one")); !strings.HasPrefix(got.Body, `{"data"`) {
		t.Errorf("after it: %d %s", got.Status, got.Body)
	}
	if got := s.inTransaction(t); got != "0" {
		t.Errorf("%s sessions are left in a transaction", got)
	}
}

func (s *legacySite) aStatementThatTakesTooLongIsCancelledAtTheServer(t *testing.T) {
	s.upload(t)
	if got := s.post(t, "graphql", raw("select 1 as one from pg_sleep(600)")); code(t, got.Body) != "P6004" || got.Status != http.StatusOK {
		t.Errorf("it says %s", got.Body)
	}
	legacyEventually(t, "the server does not run it any more", func() bool {
		return s.Postgres.Ask(t, "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(600)%' and pid <> pg_backend_pid()") == "0"
	})
	if got := s.post(t, "graphql", raw("select 1 as one")); !strings.HasPrefix(got.Body, `{"data"`) {
		t.Errorf("after it: %s", got.Body)
	}
}

func (s *legacySite) aResultThatIsTooLargeIsNotGathered(t *testing.T) {
	s.upload(t)
	for what, rows := range map[string]string{"what the server sends": "200000", "what the client would get": "70000"} {
		if got := s.post(t, "graphql", raw("select 'eighteen characters' as x from generate_series(1, "+rows+")")); code(t, got.Body) != "P6009" {
			t.Errorf("%s: %.200s", what, got.Body)
		}
	}
	if got := s.post(t, "graphql", raw("select 1 as one")); !strings.HasPrefix(got.Body, `{"data"`) {
		t.Errorf("after it: %s", got.Body)
	}
}

func (s *legacySite) anotherLoginHasNoUseOfASchemaOrATransaction(t *testing.T) {
	s.upload(t)
	path := s.begin(t, `{"max_wait":2000,"timeout":60000}`)
	other := *s
	other.Session.Login.Password = otherPassword
	other.Session.Login.User = "other"
	other.serve(t)
	if got := other.post(t, "graphql", raw("select 1")); !strings.Contains(got.Body, "SchemaMissing") {
		t.Errorf("a schema of another: %d %s", got.Status, got.Body)
	}
	other.upload(t)
	if got := other.send(t, http.MethodPost, path+"/graphql", raw("select 1")); code(t, got.Body) != "P2028" {
		t.Errorf("a transaction of another: %d %s", got.Status, got.Body)
	}
	if got := s.send(t, http.MethodPost, path+"/rollback", ""); got.Status != http.StatusOK {
		t.Errorf("the transaction itself: %d %s", got.Status, got.Body)
	}
}

func (s *legacySite) aWrongKeyReachesNoSidecar(t *testing.T) {
	stranger := *s
	stranger.Session.Login.Password = "guess"
	stranger.serve(t)
	for _, action := range []string{"graphql", "transaction/start", "itx/10.0.0.7-abc/commit"} {
		if got := stranger.post(t, action, "{}"); got.Status != http.StatusUnauthorized || strings.Contains(got.Body, "guess") {
			t.Errorf("%s: %d %s", action, got.Status, got.Body)
		}
	}
}

func (s *legacySite) schemasThatAreNoneAreRefused(t *testing.T) {
	encode := func(schema string) string { return base64.StdEncoding.EncodeToString([]byte(schema)) }
	for _, test := range []struct {
		what, path, body string
		status           int
		says             string
	}{
		{"nothing", legacyPath, "", 400, "not in base64"},
		{"no base64", legacyPath, "datasource db {}", 400, "not in base64"},
		{"another schema", legacyPath, encode(legacySchema + "// new"), 400, "hash is in the path"},
		{"too large", legacyPath, strings.Repeat("A", 4000), 413, "more than 2000 bytes"},
		{"no UTF-8", legacyBase("6.19.3", "\xff\xfe"), encode("\xff\xfe"), 400, "not UTF-8"},
	} {
		got := s.send(t, http.MethodPut, test.path+"schema", test.body)
		if got.Status != test.status || !strings.Contains(got.Body, test.says) {
			t.Errorf("%s: %d %s, want %d with %q", test.what, got.Status, got.Body, test.status, test.says)
		}
	}
	s.upload(t)
}

func (s *legacySite) aSchemaOnWhichTheEngineBreaksEndsThatEngineAlone(t *testing.T) {
	s.upload(t)
	path := s.begin(t, `{"max_wait":2000,"timeout":60000}`)
	// Prisma refuses a model without a unique field; the engine looks for one.
	broken := strings.Replace(legacySchema, "String  @id", "String", 1)
	base := legacyBase("6.19.3", broken)
	if got := s.send(t, http.MethodPut, base+"schema", base64.StdEncoding.EncodeToString([]byte(broken))); got.Status != http.StatusOK {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	if got := s.send(t, http.MethodPost, base+"graphql", account("findMany", "{}")); got.Status != http.StatusInternalServerError {
		t.Errorf("a query of the model: %d %s", got.Status, got.Body)
	}
	if got := s.send(t, http.MethodPost, base+"graphql", account("findMany", "{}")); !strings.Contains(got.Body, "SchemaMissing") {
		t.Errorf("after it: %d %s", got.Status, got.Body)
	}
	if got := s.send(t, http.MethodPost, path+"/commit", ""); got.Status != http.StatusOK {
		t.Errorf("the transaction of another engine: %d %s", got.Status, got.Body)
	}
}

func (s *legacySite) optionsOfATransactionAreChecked(t *testing.T) {
	s.upload(t)
	for options, status := range map[string]int{
		`{"timeout":-1}`: 400, `{"timeout":"soon"}`: 400, `[`: 400, `{"timeout":0}`: 200,
		`{"timeout":100,"isolation_level":"Chaos"}`: 400,
	} {
		if got := s.post(t, "transaction/start", options); got.Status != status {
			t.Errorf("%s: %d %s, want %d", options, got.Status, got.Body, status)
		}
	}
}

func (s *legacySite) whatNobodyUsesMakesRoomAndWhatIsInUseStays(t *testing.T) {
	s.upload(t)
	path := s.begin(t, `{"max_wait":2000,"timeout":60000}`)
	other := strings.Replace(legacySchema, "Kontoführung", "Buchhaltung", 1)
	upload := func() legacyAnswer {
		return s.send(t, http.MethodPut, legacyBase("5.22.0", other)+"schema", base64.StdEncoding.EncodeToString([]byte(other)))
	}
	if got := upload(); got.Status != http.StatusTooManyRequests {
		t.Errorf("beside a transaction: %d %s", got.Status, got.Body)
	}
	if got := s.send(t, http.MethodPost, path+"/rollback", ""); got.Status != http.StatusOK {
		t.Errorf("the transaction: %d %s", got.Status, got.Body)
	}
	if got := upload(); got.Status != http.StatusOK {
		t.Errorf("after it: %d %s", got.Status, got.Body)
	}
	if got := s.post(t, "graphql", raw("select 1")); !strings.Contains(got.Body, "SchemaMissing") {
		t.Errorf("what made room: %d %s", got.Status, got.Body)
	}
}

func TestTheSidecarLetsTransactionsFinishBeforeItEndsForNoLongerThanTheyMay(t *testing.T) {
	t.Parallel()
	s := aLegacySite(t, "--shutdown-seconds=60", "--max-transaction-seconds=1")
	s.upload(t)
	path := s.begin(t, `{"max_wait":2000,"timeout":3600000}`)
	if got := s.send(t, http.MethodPost, path+"/graphql", account("findMany", `{}`)); got.Status != http.StatusOK {
		t.Fatal(got.Body)
	}
	s.Sidecar.Stop(t)
	if got := s.inTransaction(t); got != "0" {
		t.Errorf("%s sessions are left in a transaction", got)
	}
	if got := s.post(t, "graphql", raw("select 1")); got.Status != http.StatusServiceUnavailable {
		t.Errorf("without a sidecar: %d %s", got.Status, got.Body)
	}
}

func (s *legacySite) theSidecarLogsInToNobodyElse(t *testing.T) {
	impostor, heard := anImpostor(t)
	for what, test := range map[string]struct {
		change map[string]any
		code   string
	}{
		"the pooler":                              {nil, ""},
		"one with another's certificate":          {map[string]any{"authority": string(testenv.NewCertificate(t, "127.0.0.1").CA)}, "P1011"},
		"one with a certificate for another name": {map[string]any{"serverName": "db.example.com"}, "P1011"},
		"one that asks for the password":          {map[string]any{"tls": false, "port": impostor}, "P1011"},
	} {
		session := map[string]any{
			"pool": "web/shop", "host": "127.0.0.1", "port": s.PgBouncer.Port, "tls": true, "authority": s.Session.Pool.Authority,
			"serverName": "", "exclusive": false, "user": "app", "password": legacyPassword, "database": "shop", "endpoint": "https://a/",
		}
		maps.Copy(session, test.change)
		s.direct(t, session, http.MethodPut, "schema", base64.StdEncoding.EncodeToString([]byte(legacySchema)))
		got := s.direct(t, session, http.MethodPost, "graphql", account("findFirst", `{"where":{"id":"nobody"}}`))
		if test.code == "" && got.Body != `{"data":{"findFirstAccount":null}}` || test.code != "" && code(t, got.Body) != test.code {
			t.Errorf("%s: %d %s", what, got.Status, got.Body)
		}
	}
	if said := <-heard; strings.Contains(said, legacyPassword) {
		t.Error("it tells the password to whoever asks")
	}
}
