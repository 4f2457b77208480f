// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
)

// Forward has the peer of a name answer a request. Without an error the peer has
// answered, whatever it says, or the answer was cut off: then Forward panics with
// http.ErrAbortHandler. With one nothing was written: it is ErrUnknown, ErrLost,
// ErrRefused, ErrTooLarge, an *http.MaxBytesError where the request is too long, or why
// the request's context has ended.
func (p *Peers) Forward(w http.ResponseWriter, r *http.Request, name string) error {
	if Forwarded(r) {
		return fmt.Errorf("%w: another replica has passed it on already", ErrRefused)
	}
	address, err := p.find(r.Context(), name)
	if err != nil {
		return err
	}
	key, err := p.key()
	if err != nil {
		return err
	}
	ctx, end := context.WithTimeout(r.Context(), p.options.Limits.Timeout)
	defer end()
	passed := r.WithContext(ctx)
	passed.Body = http.MaxBytesReader(w, r.Body, int64(p.options.Limits.RequestBytes))
	proxy := &httputil.ReverseProxy{
		Transport: p.transport,
		Rewrite: func(both *httputil.ProxyRequest) {
			p.aim(both.Out, address)
			prove(both.Out, key, callerOf(r))
		},
		ModifyResponse: p.bound,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, problem error) { err = problem },
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // It says what Forward returns.
	}
	proxy.ServeHTTP(w, passed)
	return reason(r.Context(), err)
}

// aim directs a request at a peer; its Host stays.
func (p *Peers) aim(out *http.Request, address netip.Addr) {
	out.URL.Scheme, out.URL.Host = p.scheme(), target(address, out.Host)
}

func (p *Peers) scheme() string {
	if p.options.Certificates == nil {
		return "http"
	}
	return "https"
}

// target has the peer and the host that its certificate is for, so that a connection is
// used only for what it was checked for.
func target(address netip.Addr, host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return nameOf(address) + "." + host
}

func callerOf(r *http.Request) string {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "" // Nobody is believed to be that.
	}
	return address.Addr().Unmap().String()
}

// bound keeps an answer within the limit, for which it is cut off if need be.
func (p *Peers) bound(answer *http.Response) error {
	most := int64(p.options.Limits.ResultBytes)
	if answer.ContentLength > most {
		return ErrTooLarge
	}
	answer.Body = &bounded{ReadCloser: answer.Body, left: most}
	return nil
}

// bounded fails where there is more than there may be.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

// reason tells a lost peer from everything else.
func reason(ctx context.Context, err error) error {
	_, tooLong := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil, tooLong, errors.Is(err, ErrRefused), errors.Is(err, ErrTooLarge):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}
