// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// Session is who a request is for.
type Session struct {
	Pool   edge.Pool
	Login  edge.Login
	Caller netip.Addr
}

// replicas are this gateway and the others. A transaction is where it began.
type replicas interface {
	// Name is this replica's.
	Name() string
	// Forward passes a request on to the replica of a name. The error is why it did not
	// answer; nothing was written then.
	Forward(w http.ResponseWriter, r *http.Request, name string) error
}

// nameIn is this replica's, which has one too where nobody knows of others.
func nameIn(r replicas) string {
	if r == nil {
		return "alone"
	}
	return r.Name()
}

// Legacy serves the protocol by which Prisma's clients 5 and 6 that were generated
// without an engine (`prisma generate --no-engine`) use Accelerate. The queries are run
// by a sidecar, cmd/accelerate-legacy, which trusts what comes by its socket: nothing does
// before the pooler has taken the credential.
type Legacy struct {
	Connections *edge.Connections
	Limiter     *edge.Limiter
	Replicas    replicas
	Limits      edge.HTTPLimits

	proxy  *httputil.ReverseProxy
	ending atomic.Bool
}

// NewLegacy returns a Legacy whose sidecar listens on a Unix socket.
func NewLegacy(socket string, connections *edge.Connections, limiter *edge.Limiter, replicas replicas, limits edge.HTTPLimits) *Legacy {
	l := &Legacy{Connections: connections, Limiter: limiter, Replicas: replicas, Limits: limits}
	l.proxy = &httputil.ReverseProxy{
		Rewrite: rewrite,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
			DisableCompression: true, MaxIdleConnsPerHost: keptToSidecar, IdleConnTimeout: time.Minute,
		},
		ModifyResponse: l.check,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, err error) { RefuseLegacy(w, l.explain(err)) },
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), // It has the client's words.
	}
	return l
}

const keptToSidecar = 64

// Serve answers a request whose key names this pool and this login; whether the pooler
// takes it is found out here.
func (l *Legacy) Serve(w http.ResponseWriter, r *http.Request, s Session) {
	call, err := readLegacyCall(r)
	if err == nil {
		err = l.serve(w, r, s, call)
	}
	if err != nil {
		RefuseLegacy(w, err)
	}
}

func (l *Legacy) serve(w http.ResponseWriter, r *http.Request, s Session, call legacyCall) error {
	if r.ContentLength > int64(l.Limits.RequestBytes) {
		return l.requestTooLarge()
	}
	release, err := l.Limiter.Admit(s.Pool, s.Caller)
	if err != nil {
		return err
	}
	defer release()
	if call.replica != "" && call.replica != nameIn(l.Replicas) {
		return l.forward(w, r, call.replica)
	}
	if call.action == startAction && l.ending.Load() {
		return &edge.Refusal{Status: http.StatusServiceUnavailable, RetryAfter: time.Second, Message: "this replica of the gateway ends, and begins no more transactions"}
	}
	ctx, stop := context.WithTimeoutCause(r.Context(), l.Limits.Timeout, l.tooSlow())
	defer stop()
	w.Header().Set("Accelerate-Cache-Status", "none")
	if err := l.authenticate(ctx, s); err != nil {
		return err
	}
	endpoint := "https://" + r.Host + "/" + call.version + "/" + call.hash + "/itx/" + nameIn(l.Replicas) + "-"
	header, err := sidecarHeader(s, endpoint)
	if err != nil {
		return err
	}
	// A client that sends its request slowly does not get more time than others.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(l.Limits.Timeout))
	r.Body = http.MaxBytesReader(w, r.Body, int64(l.Limits.RequestBytes))
	l.proxy.ServeHTTP(w, r.WithContext(context.WithValue(ctx, outgoingKey{}, outgoing{call.path(), header})))
	return nil
}

// forward has the replica answer at which a transaction is. With the replica, the
// transaction is lost.
func (l *Legacy) forward(w http.ResponseWriter, r *http.Request, replica string) error {
	if l.Replicas == nil {
		return lostTransaction()
	}
	err := l.Replicas.Forward(w, r, replica)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return nil
	case tooLarge:
		return l.requestTooLarge()
	case r.Context().Err() != nil:
		return context.Cause(r.Context())
	}
	return lostTransaction()
}

// authenticate finds that the pooler takes the credential. Connections are kept, so this
// is seldom a login.
func (l *Legacy) authenticate(ctx context.Context, s Session) error {
	conn, err := l.Connections.Take(ctx, s.Pool, s.Caller, s.Login)
	if err != nil {
		return err
	}
	conn.Release(ctx)
	return nil
}

// outgoing is what of a request for the sidecar does not come from the client.
type outgoing struct {
	path   string
	header string
}

type outgoingKey struct{}

// rewrite leaves of the client's headers nothing but how long the body is.
func rewrite(request *httputil.ProxyRequest) {
	out, _ := request.In.Context().Value(outgoingKey{}).(outgoing)
	request.Out.URL.Scheme, request.Out.URL.Host, request.Out.URL.Path, request.Out.URL.RawPath = "http", "sidecar", out.path, ""
	request.Out.URL.RawQuery, request.Out.Host = "", "sidecar"
	request.Out.Header = http.Header{sessionHeader: {out.header}, "User-Agent": {""}}
}

// check lets nothing through but an answer in JSON of a size that is allowed.
func (l *Legacy) check(response *http.Response) error {
	if response.ContentLength < 0 || response.ContentLength > int64(l.Limits.ResultBytes) {
		return l.resultTooLarge()
	}
	response.Header = http.Header{"Content-Type": {"application/json"}, "Content-Length": {strconv.FormatInt(response.ContentLength, 10)}}
	return nil
}

// explain says why there is no answer of the sidecar's.
func (l *Legacy) explain(err error) error {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return l.requestTooLarge()
	case errors.Is(err, context.DeadlineExceeded):
		return l.tooSlow()
	}
	return err
}
