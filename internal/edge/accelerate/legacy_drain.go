// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Drain begins no more interactive transactions, and waits for those that are open, at
// the latest until the context ends.
func (h *Handler) Drain(ctx context.Context) {
	var others sync.WaitGroup
	if h.Legacy != nil {
		others.Go(func() { h.Legacy.Drain(ctx) })
	}
	h.Transactions.Drain(ctx)
	others.Wait()
}

// looks is how often the sidecar is asked.
const looks = 100 * time.Millisecond

// Drain begins no more transactions, and waits until the sidecar has none.
func (l *Legacy) Drain(ctx context.Context) {
	l.ending.Store(true)
	ticker := time.NewTicker(looks)
	defer ticker.Stop()
	for l.open(ctx) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// open is how many transactions the sidecar has; without a sidecar there is none.
func (l *Legacy) open(ctx context.Context) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sidecar/transactions", http.NoBody)
	if err != nil {
		return 0
	}
	response, err := l.proxy.Transport.RoundTrip(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	var told struct{ Open int }
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, 1<<10)).Decode(&told); err != nil {
		return 0
	}
	return told.Open
}
