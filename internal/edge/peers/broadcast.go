// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
)

// Broadcast has every peer answer a request, whose body is given apart as it has been
// read. It does nothing with one that a peer has passed on: that one asks all. The error
// is of the peers that could not be reached, or did not answer with status 200.
func (p *Peers) Broadcast(r *http.Request, body []byte) error {
	if Forwarded(r) {
		return nil
	}
	addresses, err := p.addresses(r.Context(), fresh)
	if err != nil {
		return err
	}
	ctx, end := context.WithTimeout(r.Context(), p.options.Limits.Timeout)
	defer end()
	problems, slots := make([]error, len(addresses)), make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, address := range addresses {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if problems[i] = p.send(ctx, r, address, body); problems[i] != nil {
				problems[i] = fmt.Errorf("telling replica %s: %w", address, problems[i])
			}
		})
	}
	all.Wait()
	return errors.Join(problems...)
}

// atOnce is how many peers are told at a time.
const atOnce = 16

func (p *Peers) send(ctx context.Context, r *http.Request, address netip.Addr, body []byte) error {
	out := r.Clone(ctx)
	out.RequestURI = "" // It is a server's.
	p.aim(out, address)
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	for _, name := range []string{"Connection", "X-Forwarded-For", "Forwarded", "Upgrade", "Te", "Trailer", "Transfer-Encoding", "Expect", "Proxy-Connection"} {
		out.Header.Del(name)
	}
	key, err := p.key()
	if err != nil {
		return err
	}
	prove(out, key, callerOf(r))
	answer, err := p.transport.RoundTrip(out)
	if err != nil {
		return reason(ctx, err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, int64(p.options.Limits.ResultBytes))); err != nil {
		return reason(ctx, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: it answers with status %d", ErrRefused, answer.StatusCode)
	}
	return nil
}
