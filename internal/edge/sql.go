// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// HTTPLimits bound what a request may cost. Each has to be set.
type HTTPLimits struct {
	// RequestBytes bounds a request's body. Beyond it is HTTP status 413.
	RequestBytes int
	// ResultBytes bounds a response's body. Beyond it is HTTP status 507, and the
	// statement is cancelled: a batch is rolled back, a single statement may have ended.
	ResultBytes int
	// Timeout bounds a request, from its first byte to the end of its last statement.
	// Beyond it is HTTP status 504, and the statement is cancelled at the server.
	Timeout time.Duration
}

// DefaultHTTPLimits are those of Neon's own proxy for bodies (10 MiB each), and a
// minute.
var DefaultHTTPLimits = HTTPLimits{RequestBytes: 10 << 20, ResultBytes: 10 << 20, Timeout: time.Minute}

// HTTP serves POST /sql as the Neon serverless driver (@neondatabase/serverless 1.2.0)
// calls it: a statement, or several as one transaction, on one connection to a pooler
// for as long as the request lasts. Statements go by the extended protocol and are
// never named, so one connection in transaction mode is all that a request needs.
type HTTP struct {
	Directory   *Directory
	Connections *Connections
	Limiter     *Limiter
	Limits      HTTPLimits
}

// ServeHTTP answers POST with rows or an error in the driver's form, and OPTIONS as
// browsers ask before they POST.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Access-Control-Allow-Origin"] = anyOrigin
	switch r.Method {
	case http.MethodPost:
		h.post(w, r)
	case http.MethodOptions:
		allow(w.Header())
	default:
		w.Header().Set("Allow", allowedMethods)
		writeError(w, &Refusal{Status: http.StatusMethodNotAllowed, Code: codeProtocolViolation, Message: "statements are sent with POST"})
	}
}

// Values of headers that every answer has, made once.
var (
	anyOrigin   = []string{"*"}
	contentType = []string{"application/json"}
)

const allowedMethods = "OPTIONS, POST"

func allow(header http.Header) {
	header.Set("Allow", allowedMethods)
	header.Set("Access-Control-Allow-Methods", allowedMethods)
	header.Set("Access-Control-Allow-Headers", "Authorization, Neon-Connection-String, Neon-Raw-Text-Output, Neon-Array-Mode, "+
		"Neon-Pool-Opt-In, Neon-Batch-Read-Only, Neon-Batch-Isolation-Level, Neon-Batch-Deferrable")
	header.Set("Access-Control-Max-Age", "86400")
}

func (h *HTTP) post(w http.ResponseWriter, r *http.Request) {
	buffers, _ := allBuffers.Get().(*buffers)
	defer buffers.free()
	form, err := readForm(r.Header)
	if err == nil {
		err = h.answer(w, r, form, buffers)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	form.echo(w.Header())
	w.Header()["Content-Type"] = contentType
	w.Header().Set("Content-Length", strconv.Itoa(len(buffers.answer)))
	_, _ = w.Write(buffers.answer) // Who is gone needs no answer.
}

// answer runs what a request asks for, and has let go of everything when it returns.
func (h *HTTP) answer(w http.ResponseWriter, r *http.Request, form form, buffers *buffers) error {
	host, login, err := readConnectionString(r.Header)
	if err != nil {
		return err
	}
	pool, err := h.Directory.Find(host)
	if err != nil {
		return err
	}
	Found(r.Context(), pool)
	if err := pool.Ready(); err != nil {
		return err
	}
	if r.ContentLength > int64(h.Limits.RequestBytes) {
		return h.requestTooLarge()
	}
	caller := CallerOf(r)
	release, err := h.Limiter.Admit(pool, caller)
	if err != nil {
		return err
	}
	defer release()
	ctx, end := context.WithCancelCause(r.Context())
	defer end(nil)
	defer time.AfterFunc(h.Limits.Timeout, func() { end(h.tooSlow()) }).Stop()
	conn, err := h.Connections.Take(ctx, pool, caller, login) // Before any of the body: a stranger is turned away.
	if err != nil {
		return err
	}
	defer conn.Release(ctx)
	run := &run{http: h, form: form, conn: conn, end: end, out: buffers.answer}
	defer func() { buffers.answer = run.out }()
	return run.request(ctx, func() ([]byte, error) { return h.readBody(w, r, buffers) })
}

// readBody reads all of the body, which also lets net/http notice that a client is gone.
func (h *HTTP) readBody(w http.ResponseWriter, r *http.Request, buffers *buffers) ([]byte, error) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(h.Limits.Timeout)) // A recorder of a test has none.
	body := r.Body
	if r.ContentLength < 0 { // Else the server reads no more than that, and answer has seen to it.
		body = http.MaxBytesReader(w, body, int64(h.Limits.RequestBytes))
	}
	buffers.body.Grow(int(max(0, r.ContentLength)) + 512) // ReadFrom wants room to find the end.
	_, err := buffers.body.ReadFrom(body)
	if err == nil { // Else the server would wait for the rest of the body before it answers.
		_ = controller.SetReadDeadline(time.Time{})
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return nil, h.requestTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, h.tooSlow()
	case err != nil:
		return nil, &Refusal{Status: http.StatusBadRequest, Code: codeProtocolViolation, Message: "the request ends before its body does"}
	}
	return buffers.body.Bytes(), nil
}

func (h *HTTP) requestTooLarge() *Refusal {
	return &Refusal{
		Status: http.StatusRequestEntityTooLarge, Code: codeLimit,
		Message: fmt.Sprintf("the request has more than %d bytes, as many as the gateway takes", h.Limits.RequestBytes),
		Hint:    "Send it in parts, or raise the gateway's --max-request-bytes.",
	}
}

func (h *HTTP) resultTooLarge() *Refusal {
	return &Refusal{
		Status: http.StatusInsufficientStorage, Code: codeLimit,
		Message: fmt.Sprintf("the result has more than %d bytes, as many as the gateway returns", h.Limits.ResultBytes),
		Hint:    "Ask for less with LIMIT, or raise the gateway's --max-result-bytes.",
	}
}

func (h *HTTP) tooSlow() *Refusal {
	return &Refusal{
		Status: http.StatusGatewayTimeout, Code: codeCanceled,
		Message: fmt.Sprintf("the request took longer than %v, and was cancelled", h.Limits.Timeout),
		Hint:    "Make it faster, or raise the gateway's --request-timeout.",
	}
}

// buffers are what a request is read and answered in.
type buffers struct {
	body   bytes.Buffer
	answer []byte
}

// largeBuffer is what is left to the garbage collector instead of kept for the next
// request, in bytes.
const largeBuffer = 1 << 20

var allBuffers = sync.Pool{New: func() any { return new(buffers) }}

func (b *buffers) free() {
	if b.body.Cap() > largeBuffer || cap(b.answer) > largeBuffer {
		return
	}
	b.body.Reset()
	b.answer = b.answer[:0]
	allBuffers.Put(b)
}
