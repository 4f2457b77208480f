// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// Handler serves the protocol that Prisma's clients speak to a prisma:// URL when they
// compile queries to plans themselves (engineType "client" of Prisma 6, always in 7).
// Beside it, it hands on what clients of the older protocol ask for.
type Handler struct {
	Directory   *edge.Directory
	Connections *edge.Connections
	Limiter     *edge.Limiter
	Limits      edge.HTTPLimits
	// Cache keeps results as clients ask; nil keeps none.
	Cache *cache.Cache
	// Transactions are those that began here, and Replicas where others are; nil is that
	// there are none.
	Transactions *Transactions
	Replicas     Replicas
	// Legacy serves the older protocol; nil where the gateway does not.
	Legacy interface {
		Serve(w http.ResponseWriter, r *http.Request, s Session)
		Drain(ctx context.Context)
	}
}

// Replicas are this gateway and the others; see package peers.
type Replicas interface {
	Name() string
	Forward(w http.ResponseWriter, r *http.Request, name string) error
	// Broadcast sends a request with its body to all others.
	Broadcast(r *http.Request, body []byte) error
}

// Serves is whether a path is of Accelerate's protocols.
func (*Handler) Serves(path string) bool {
	return path == connectionInfoPath || path == queryPath || path == invalidatePath || strings.HasPrefix(path, transactionPath) || IsLegacy(path)
}

const (
	connectionInfoPath = "/connection-info"
	queryPath          = "/query"
	invalidatePath     = "/invalidate"
)

// ServeHTTP answers a client. Every answer is JSON.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if IsLegacy(r.URL.Path) {
		h.serveLegacy(w, r)
		return
	}
	v := &visit{Request: r, w: w}
	err := h.begin(v)
	if err == nil {
		err = h.serve(r.Context(), v)
	}
	h.answer(v, err)
}

// begin reads what every request has.
func (h *Handler) begin(v *visit) (err error) {
	version, _ := queryplan.ParseVersion(v.Header.Get(versionHeader)) // What needs one refuses another.
	v.trace, err = queryplan.NewTrace(version, v.Header.Get("X-Capture-Telemetry"), v.Header.Get("Traceparent"))
	if err != nil {
		return err
	}
	v.Session, err = h.session(v.Request)
	return err
}

func (h *Handler) serve(ctx context.Context, v *visit) error {
	method, serve := h.route(v.URL.Path)
	switch {
	case serve == nil:
		return &queryplan.Error{Status: http.StatusNotFound, Message: "there is nothing at this path"}
	case v.Method != method:
		v.w.Header().Set("Allow", method)
		return &queryplan.Error{Status: http.StatusMethodNotAllowed, Message: "this path takes " + method + " alone"}
	case v.ContentLength > int64(h.Limits.RequestBytes):
		return h.requestTooLarge()
	}
	release, err := h.Limiter.Admit(v.Pool, v.Caller)
	if err != nil {
		return err
	}
	defer release()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer time.AfterFunc(h.Limits.Timeout, func() { end(h.tooSlow()) }).Stop()
	return serve(ctx, v)
}

func (h *Handler) route(path string) (method string, serve func(context.Context, *visit) error) {
	switch path {
	case connectionInfoPath:
		return http.MethodGet, h.connectionInfo
	case queryPath:
		return http.MethodPost, h.query
	case invalidatePath:
		return http.MethodPost, h.invalidate
	case startPath:
		return http.MethodPost, h.startTransaction
	}
	if _, ok := readTransactionPath(path); ok {
		return http.MethodPost, h.callTransaction
	}
	return "", nil
}

// serveLegacy finds whose key it is and leaves the rest to the older protocol's server.
func (h *Handler) serveLegacy(w http.ResponseWriter, r *http.Request) {
	if h.Legacy == nil {
		RefuseLegacy(w, nothingThere())
		return
	}
	session, err := h.session(r)
	if err == nil {
		err = session.Pool.Ready()
	}
	if err != nil {
		RefuseLegacy(w, err)
		return
	}
	h.Legacy.Serve(w, r, session)
}
