// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Trace collects the telemetry that a request asks for. A nil Trace collects nothing.
type Trace struct {
	levels []string
	spans  bool
	// member is what the client reads spans from.
	member string
	id     string
	parent string
	logged *list
	ended  *list
}

// noSpan is the identifier of a log's span where there is none.
const noSpan = "00000000000000000000000000000000-0000000000000000"

// NewTrace reads the headers X-Capture-Telemetry (such as "error, query, tracing") and
// traceparent (W3C Trace Context) of a client. It is nil where nothing is asked for, and
// gives *Error where the former is malformed.
func NewTrace(client Version, capture, traceparent string) (*Trace, error) {
	if capture == "" {
		return nil, nil //nolint:nilnil // A nil Trace is one that collects nothing.
	}
	trace := &Trace{logged: &list{}, ended: &list{}, member: dialectOf(client).spans}
	for level := range strings.SplitSeq(capture, ",") {
		switch level = strings.TrimSpace(level); level {
		case "":
		case "tracing":
			trace.spans = true
		case "debug", "query", "info", "warn", "error":
			trace.levels = append(trace.levels, level)
		default:
			return nil, &Error{Status: 400, Message: "Malformed X-Capture-Telemetry header"}
		}
	}
	if parts := strings.Split(traceparent, "-"); len(parts) == 4 && len(parts[1]) == 32 && strings.Trim(parts[1], hexDigits) == "" {
		trace.id = parts[1]
	} else {
		trace.id = traceID()
	}
	return trace, nil
}

// Extensions is the JSON of an answer's "extensions", of successes and errors alike;
// nil where the answer has none.
func (t *Trace) Extensions() json.RawMessage {
	if t == nil {
		return nil
	}
	extensions := newObject()
	if len(t.levels) > 0 {
		extensions.set("logs", t.logged)
	}
	if t.spans {
		extensions.set(t.member, t.ended)
	}
	written, err := extensions.MarshalJSON()
	if err != nil {
		return json.RawMessage(`{"logs":[]}`) // There was more than an answer may hold.
	}
	return written
}

// maxLogs bounds how many events and spans an answer tells of.
const maxLogs = 10_000

func (t *Trace) log(level, message string, attributes *object) {
	if t == nil || !slices.Contains(t.levels, level) || len(t.logged.items) >= maxLogs {
		return
	}
	span := noSpan
	if t.parent != "" {
		span = t.parent
	}
	t.logged.items = append(t.logged.items, newObject().with("level", level).with("spanId", span).
		with("timestamp", hrTime(time.Now())).with("message", message).with("attributes", attributes))
}

// query tells of a statement that ran. Prisma's executor has its duration as one, its
// clients read the other.
func (t *Trace) query(sql string, args []value, begun time.Time) {
	if t == nil || !slices.Contains(t.levels, "query") {
		return
	}
	writer := jsonWriter{depth: DefaultLimits.Depth, limit: DefaultLimits.ResultBytes, leaf: base64Leaf}
	if err := writer.write(&list{args}); err != nil {
		writer.out = []byte("[]")
	}
	took := float64(time.Since(begun)) / float64(time.Millisecond)
	t.log("query", "Query", newObject().with("timestamp", float64(begun.UnixMilli())).
		with("duration", took).with("duration_ms", took).
		with("query", sql).with("params", string(writer.out)))
}

// fail tells of the error that a request ends with; clients read the message.
func (t *Trace) fail(err error) {
	t.log("error", "Error processing request", newObject().with("error", err.Error()).with("message", err.Error()))
}

// hrTime is a time as OpenTelemetry's JavaScript has it: seconds and nanoseconds.
func hrTime(at time.Time) *list {
	return listOf(float64(at.Unix()), float64(at.Nanosecond()))
}

// span is a step of a request. A nil span is one that nobody asked for.
type span struct {
	trace     *Trace
	id, outer string
	name, sql string
	begun     time.Time
}

func (t *Trace) begin(name, sql string) *span {
	if t == nil || !t.spans {
		return nil
	}
	begun := &span{trace: t, id: t.id + "-" + spanID(), outer: t.parent, name: name, sql: sql, begun: time.Now()}
	t.parent = begun.id
	return begun
}

func (s *span) end() {
	if s == nil {
		return
	}
	s.trace.parent = s.outer
	if len(s.trace.ended.items) >= maxLogs {
		return
	}
	told := newObject().with("id", s.id).with("parentId", nil)
	if s.outer != "" {
		told.set("parentId", s.outer)
	}
	kind := "internal"
	if s.sql != "" {
		kind = "client"
		told.set("attributes", newObject().with("db.query.text", s.sql).with("db.system.name", "postgresql"))
	}
	s.trace.ended.items = append(s.trace.ended.items, told.with("name", "prisma:accelerate:"+s.name).with("kind", kind).
		with("startTime", hrTime(s.begun)).with("endTime", hrTime(time.Now())))
}
