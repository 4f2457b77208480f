// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type extensions struct {
	Logs []struct {
		Level, SpanID, Message string
		Timestamp              []float64
		Attributes             map[string]any
	}
	Spans []struct {
		ID, ParentID, Name, Kind string
		StartTime, EndTime       []float64
		Attributes               map[string]string
	}
}

func traced(t *testing.T, capture, plan string, conn Conn) (extensions, string) {
	t.Helper()
	trace, err := NewTrace(newestVersion, capture, "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = decodeBody(t, `{"operation":"x","plan":`+plan+`,"params":{}}`).Run(t.Context(), conn, false, trace)
	var got extensions
	if err := json.Unmarshal(trace.Extensions(), &got); err != nil {
		t.Fatal(err)
	}
	return got, string(trace.Extensions())
}

func rawQuery(sql, args, types string) string {
	return `{"type":"query","args":{"type":"rawSql","sql":"` + sql + `","args":[` + args + `],"argTypes":[` + types + `]}}`
}

func TestATraceTellsOfStatements(t *testing.T) {
	got, _ := traced(t, "query", rawQuery("select $1", `"a"`, `{"arity":"scalar","scalarType":"string"}`), &replies{})
	if len(got.Logs) != 1 || got.Spans != nil {
		t.Fatalf("got %+v", got)
	}
	log := got.Logs[0]
	duration, timed := log.Attributes["duration"].(float64)
	at, dated := log.Attributes["timestamp"].(float64)
	if !timed || duration < 0 || log.Attributes["duration_ms"] != duration || !dated || at < 1e12 || len(log.Timestamp) != 2 {
		t.Errorf("the times are %v, %v", log.Timestamp, log.Attributes)
	}
	delete(log.Attributes, "duration")
	delete(log.Attributes, "duration_ms")
	delete(log.Attributes, "timestamp")
	want := map[string]any{"query": "select $1", "params": `["a"]`}
	if diff := cmp.Diff(want, log.Attributes); diff != "" || log.Level != "query" || log.Message != "Query" {
		t.Errorf("got %+v", log)
	}
}

func TestATraceHasTheStepsAsSpans(t *testing.T) {
	plan := `{"type":"transaction","args":` + rawQuery("select 1", "", "") + `}`
	got, _ := traced(t, "tracing", plan, &replies{})
	var names, kinds, parents []string
	for _, span := range got.Spans {
		names, kinds = append(names, span.Name), append(kinds, span.Kind)
		if span.ParentID != "" {
			parents = append(parents, span.Name)
		}
		if span.ID[:33] != "0123456789abcdef0123456789abcdef-" || len(span.ID) != 49 {
			t.Errorf("the id is %s", span.ID)
		}
	}
	if diff := cmp.Diff([]string{
		"prisma:accelerate:start_transaction", "prisma:accelerate:db_query", "prisma:accelerate:db_query", "prisma:accelerate:commit_transaction",
	}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"internal", "client", "client", "internal"}, kinds); diff != "" {
		t.Error(diff)
	}
	if len(parents) != 1 { // COMMIT's, in the transaction's end.
		t.Errorf("of another are %v", parents)
	}
	if text := got.Spans[1].Attributes["db.query.text"]; text != "select 1" {
		t.Errorf("the statement is %q", text)
	}
}

func TestATraceTellsOfTheErrorThatARequestEndsWith(t *testing.T) {
	conn := &replies{errs: map[string]error{"select 1": errors.New("at host 10.0.0.1")}}
	got, text := traced(t, "error", rawQuery("select 1", "", ""), conn)
	if len(got.Logs) != 1 || got.Logs[0].Level != "error" || got.Logs[0].Attributes["error"] != "Internal error" {
		t.Errorf("got %s", text)
	}
}

func TestATraceOfNothingHasNoExtensions(t *testing.T) {
	trace, err := NewTrace(newestVersion, "", "")
	if err != nil || trace != nil || trace.Extensions() != nil {
		t.Errorf("got %v, %v", trace, err)
	}
	if _, err := NewTrace(newestVersion, "query, gossip", ""); ErrorOf(err).Status != 400 {
		t.Errorf("an unknown level gives %v", err)
	}
	if _, text := traced(t, "error, tracing", of(`1`), &replies{}); text != `{"logs":[],"spans":[]}` {
		t.Errorf("got %s", text)
	}
}

func TestOlderClientsReadSpansElsewhere(t *testing.T) {
	for version, want := range map[Version]string{
		{6, 19}: `{"traces":[]}`, {7, 1}: `{"traces":[]}`, {7, 2}: `{"spans":[]}`, {7, 10}: `{"spans":[]}`,
	} {
		trace, err := NewTrace(version, "tracing", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(trace.Extensions()); got != want {
			t.Errorf("%s reads %s, want %s", version, got, want)
		}
	}
}
