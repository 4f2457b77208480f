// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"sync"
)

// gates let few at a time through, for each key; the others wait in the order in which
// they came. A gate is there only while somebody is at it.
type gates struct {
	mu  sync.Mutex
	all map[uint64]*gate
}

type gate struct {
	slots chan struct{}
	users int
}

// enter waits for a slot until leave is called. The error is the context's.
func (g *gates) enter(ctx context.Context, key uint64, width int) (leave func(), err error) {
	at := g.approach(key, width)
	select {
	case at.slots <- struct{}{}:
		return sync.OnceFunc(func() {
			<-at.slots
			g.depart(key, at)
		}), nil
	case <-ctx.Done():
		g.depart(key, at)
		return nil, ctx.Err()
	}
}

func (g *gates) approach(key uint64, width int) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[uint64]*gate{}
	}
	if g.all[key] == nil {
		g.all[key] = &gate{slots: make(chan struct{}, width)}
	}
	g.all[key].users++
	return g.all[key]
}

func (g *gates) depart(key uint64, at *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(g.all, key)
	}
}
