// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/http"
)

// The headers that say how rows come, and what transaction a batch is.
const (
	rawHeader        = "Neon-Raw-Text-Output"
	arrayHeader      = "Neon-Array-Mode"
	isolationHeader  = "Neon-Batch-Isolation-Level"
	readOnlyHeader   = "Neon-Batch-Read-Only"
	deferrableHeader = "Neon-Batch-Deferrable"
)

var isolationLevels = map[string]string{
	"ReadUncommitted": "READ UNCOMMITTED",
	"ReadCommitted":   "READ COMMITTED",
	"RepeatableRead":  "REPEATABLE READ",
	"Serializable":    "SERIALIZABLE",
}

// form is what a request's headers ask for.
type form struct {
	raw, array           bool
	isolation            string
	readOnly, deferrable bool
}

// readForm reads the headers. Where one of a transaction is not understood the error is
// a *Refusal: a transaction that may write is not what who misspells read-only wants.
func readForm(header http.Header) (form, error) {
	f := form{
		raw: header.Get(rawHeader) == "true", array: header.Get(arrayHeader) == "true",
		isolation: header.Get(isolationHeader),
	}
	if f.isolation != "" && isolationLevels[f.isolation] == "" {
		return form{}, badRequest(codeProtocolViolation, isolationHeader+" is none of ReadUncommitted, ReadCommitted, RepeatableRead and Serializable")
	}
	var err error
	if f.readOnly, err = readSwitch(header, readOnlyHeader); err != nil {
		return form{}, err
	}
	f.deferrable, err = readSwitch(header, deferrableHeader)
	return f, err
}

func readSwitch(header http.Header, name string) (bool, error) {
	switch header.Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, badRequest(codeProtocolViolation, name+" is neither true nor false")
}

// begin starts the transaction that the headers ask for.
func (f form) begin() string {
	begin := "BEGIN"
	if f.isolation != "" {
		begin += " ISOLATION LEVEL " + isolationLevels[f.isolation]
	}
	if f.readOnly {
		begin += " READ ONLY"
	}
	if f.deferrable {
		begin += " DEFERRABLE"
	}
	return begin
}

// echo repeats what was set.
func (f form) echo(header http.Header) {
	if f.isolation != "" {
		header.Set(isolationHeader, f.isolation)
	}
	if f.readOnly {
		header.Set(readOnlyHeader, "true")
	}
	if f.deferrable {
		header.Set(deferrableHeader, "true")
	}
}

// batch runs statements as one transaction: all of them, or none.
func (r *run) batch(ctx context.Context, k *kept, statements []statement) error {
	if err := k.exchange(r.form.begin(), nil, nil); err != nil {
		return err
	}
	r.out = append(r.out, `{"results":[`...)
	for i, s := range statements {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if err := r.inTransaction(ctx, k, s); err != nil {
			return err
		}
	}
	r.out = append(r.out, `]}`...)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return k.exchange("COMMIT", nil, nil)
}

func (r *run) inTransaction(ctx context.Context, k *kept, s statement) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := r.statement(k, s); err != nil {
		return err
	}
	if k.transaction == idle {
		refusal := badRequest(codeTransactionEnded, "a statement of the batch ends the transaction that the batch is")
		refusal.Hint = "Leave BEGIN, COMMIT and ROLLBACK out of it: the gateway sends them."
		return refusal
	}
	return nil
}
