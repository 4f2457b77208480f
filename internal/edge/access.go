// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"io"
	"net/http"
	"time"
)

// visit is what the access log and the metrics say of a request or a WebSocket. It has
// nothing that a client says of itself, but for the method.
type visit struct {
	kind   string
	method string
	// pool is without a name where the client named none that is served.
	pool     Pool
	caller   string
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

// recorder counts an answer, and gives up on a client that does not take it.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	sent    int64
}

// A client that takes a piece in this time is not one that never reads.
const (
	piece         = 64 << 10
	piecePatience = 30 * time.Second
)

func newRecorder(w http.ResponseWriter) *recorder {
	r := &recorder{ResponseWriter: w, control: http.NewResponseController(w), status: http.StatusOK}
	_ = r.control.SetWriteDeadline(time.Time{}) // That of the connection's last request.
	return r
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	written := 0
	for {
		_ = r.control.SetWriteDeadline(time.Now().Add(piecePatience)) // A recorder of a test has none.
		n, err := r.ResponseWriter.Write(p[written:min(written+piece, len(p))])
		written += n
		r.sent += int64(n)
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// finish bounds what the server does after the handler: it writes what is buffered,
// and reads what is left of the body. A connection that was taken over is not its own.
func (r *recorder) finish() {
	if r.status == http.StatusSwitchingProtocols {
		return
	}
	deadline := time.Now().Add(piecePatience)
	_ = r.control.SetWriteDeadline(deadline)
	_ = r.control.SetReadDeadline(deadline)
}

// countedBody counts what is read of a request.
type countedBody struct {
	io.ReadCloser
	received int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	return n, err
}
