// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"slices"
	"time"
)

// connect takes a connection that was kept, or logs in. Logins take turns: while it waits
// it takes what another request with the same login has done with, if that is sooner, so
// that a rush needs few logins. A login that has begun by then goes on, and its
// connection is kept: one more was needed, and will be again.
func (c *Conn) connect(ctx context.Context) (err error) {
	keeper := &c.from.kept
	if c.pool.Session {
		c.on, err = c.enter(ctx, ctx)
		return err
	}
	if c.on = keeper.take(ctx, c.key, c.from.Limits.For); c.on != nil {
		return nil
	}
	handed := keeper.wait(c.key)
	waiting, served := context.WithCancel(ctx)
	entering, stop := context.WithCancel(context.WithoutCancel(ctx))
	entered, failed := c.begin(waiting, entering, stop)
	select {
	case c.on = <-handed:
	case c.on = <-entered:
	case err = <-failed:
	case <-ctx.Done():
		err = context.Cause(ctx)
		stop()
	}
	served()
	if late := keeper.unwait(c.key, handed); late != nil {
		c.from.keep(ctx, late)
	}
	return err
}

// begin logs in for a request that waits, and for a later one where this one does not
// any more.
func (c *Conn) begin(waiting, entering context.Context, done func()) (entered <-chan *kept, failed <-chan error) {
	success, failure := make(chan *kept), make(chan error, 1)
	go func() {
		defer done()
		k, err := c.enter(waiting, entering)
		if err != nil {
			failure <- err
			return
		}
		select {
		case success <- k:
		case <-waiting.Done():
			k.fresh = false
			c.from.keep(entering, k)
		}
	}()
	return success, failure
}

// enter gives up waiting for its turn with one context, and logging in with the other.
func (c *Conn) enter(waiting, ctx context.Context) (*kept, error) {
	since := time.Now()
	conn, err := c.from.Door.enter(waiting, ctx, c.pool, c.caller, c.login)
	switch {
	case err != nil && waiting.Err() != nil:
		return nil, context.Cause(waiting)
	case err != nil:
		return nil, err
	}
	return &kept{conn: conn, key: c.key, pool: c.pool, since: since, fresh: true, transaction: conn.TxStatus()}, nil
}

// wait returns where a connection is handed over as soon as one is given back.
func (k *keeper) wait(key loginKey) chan *kept {
	handed := make(chan *kept, 1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.waiting == nil {
		k.waiting = map[loginKey][]chan *kept{}
	}
	k.waiting[key] = append(k.waiting[key], handed)
	return handed
}

// unwait ends a wait. It returns what was handed over and not taken.
func (k *keeper) unwait(key loginKey, handed chan *kept) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	waiting := k.waiting[key]
	if i := slices.Index(waiting, handed); i >= 0 {
		waiting = slices.Delete(waiting, i, i+1)
	}
	if k.waiting[key] = waiting; len(waiting) == 0 {
		delete(k.waiting, key)
	}
	select {
	case late := <-handed:
		return late
	default:
		return nil
	}
}

// hand gives a connection to who waits for one the longest. It is called with the lock.
func (k *keeper) hand(c *kept) bool {
	waiting := k.waiting[c.key]
	if len(waiting) == 0 {
		return false
	}
	waiting[0] <- c // There is room for one, and it is not waiting any more.
	k.waiting[c.key] = waiting[1:]
	return true
}
