// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"sync"
)

// turns lets one at a time do something, for each key.
type turns struct {
	mu    sync.Mutex
	taken map[string]*turn
}

type turn struct {
	// busy holds one element while somebody has the turn.
	busy chan struct{}
	// users have the turn or wait for it.
	users int
}

// take waits for the key's turn, until the context ends. Release must be called once.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	mine := t.taken[key]
	if mine == nil {
		mine = &turn{busy: make(chan struct{}, 1)}
		t.taken[key] = mine
	}
	mine.users++
	t.mu.Unlock()

	select {
	case mine.busy <- struct{}{}:
		return func() { <-mine.busy; t.leave(key, mine) }, nil
	case <-ctx.Done():
		t.leave(key, mine)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(key string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(t.taken, key)
	}
}
