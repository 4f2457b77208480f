// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"
)

// visit is what the access log and the metrics say of a request or a WebSocket. It has
// nothing that a client says of itself, but for the method.
type visit struct {
	kind   string
	method string
	// pool is without a name where the client named none that is served.
	pool     Pool
	caller   netip.Addr
	code     string
	received int64
	sent     int64
	duration time.Duration
}

// Kinds of visits.
const (
	kindHTTP       = "http"
	kindWebSocket  = "websocket"
	kindAccelerate = "accelerate"
	kindOther      = "other"
)

type visitKey struct{}

// Found notes, for the access log and the metrics, which pool a request is for.
func Found(ctx context.Context, pool Pool) {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		v.pool = pool
	}
}

// String is the pool's namespace and name, or nothing.
func (p Pool) String() string {
	if p.Name == "" {
		return ""
	}
	return p.Namespace + "/" + p.Name
}

// passage is a request on its way through the Server. It is all in one, as there are many.
type passage struct {
	visit
	body   countedBody
	answer recorder
}

func newPassage(w http.ResponseWriter, r *http.Request) *passage {
	p := &passage{
		body:   countedBody{ReadCloser: r.Body, ended: r.ContentLength == 0},
		answer: recorder{ResponseWriter: w, control: *http.NewResponseController(w), status: http.StatusOK},
	}
	if r.Header["Expect"] != nil { // The server answers before anything of ours does.
		_ = p.answer.control.SetWriteDeadline(time.Time{}) // Not that of the connection's last request.
	}
	return p
}

// finish bounds what the server does after the handler: it writes what is buffered,
// and reads what is left of the body. A connection that was taken over is not its own.
func (p *passage) finish() {
	if p.answer.status == http.StatusSwitchingProtocols {
		return
	}
	p.answer.patient()
	if !p.body.ended {
		_ = p.answer.control.SetReadDeadline(time.Now().Add(piecePatience))
	}
}

// recorder counts an answer, and gives up on a client that does not take it.
type recorder struct {
	http.ResponseWriter
	control http.ResponseController
	status  int
	sent    int64
	since   time.Time // When the time began that the client has for a piece.
}

// A client that takes a piece in this time is not one that never reads.
const (
	piece         = 64 << 10
	piecePatience = 30 * time.Second
	// pieceSlack is by how much that time may be shorter, which spares timers.
	pieceSlack = time.Second
)

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	written := 0
	for {
		r.patient()
		n, err := r.ResponseWriter.Write(p[written:min(written+piece, len(p))])
		written += n
		r.sent += int64(n)
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// patient gives the client time for a piece from now on.
func (r *recorder) patient() {
	if now := time.Now(); now.Sub(r.since) >= pieceSlack {
		r.since = now
		_ = r.control.SetWriteDeadline(now.Add(piecePatience)) // A recorder of a test has none.
	}
}

// countedBody counts what is read of a request.
type countedBody struct {
	io.ReadCloser
	received int64
	ended    bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}
