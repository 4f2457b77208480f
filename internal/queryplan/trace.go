// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"strings"
)

// Trace collects the telemetry that a request asks for. A nil Trace collects nothing.
type Trace struct {
	levels []string
	spans  bool
}

// NewTrace reads the header X-Capture-Telemetry (such as "error, query, tracing") and
// traceparent. It is nil where the header is empty, and an *Error where it is malformed.
func NewTrace(capture, traceparent string) (*Trace, error) {
	if capture == "" {
		return nil, nil
	}
	trace := &Trace{}
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
	_ = traceparent
	return trace, nil
}

// Extensions is the JSON of an answer's "extensions", of successes and errors alike;
// nil where the answer has none.
func (t *Trace) Extensions() json.RawMessage {
	if t == nil {
		return nil
	}
	return json.RawMessage("{}")
}
