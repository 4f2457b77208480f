// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// goodbye bounds the closing of a connection.
const goodbye = 5 * time.Second

// loginKey tells apart what logins may share a connection: the pool as the Directory has
// it, and all of the login. It is a hash, keyed with what only this process knows, so
// that no password outlives its request.
type loginKey [sha256.Size]byte

func (k *keeper) keyOf(pool Pool, login Login) loginKey {
	k.once.Do(func() { _, _ = rand.Read(k.seed[:]) }) // It never fails: see crypto/rand.Read.
	room := [2048]byte{}                              // An authority's certificate is most of it.
	text := append(room[:0], k.seed[:]...)
	add := func(part string) {
		text = binary.BigEndian.AppendUint32(text, uint32(len(part))) //nolint:gosec // A header's part is shorter than 4 GiB.
		text = append(text, part...)
	}
	for _, part := range []string{pool.Namespace, pool.Name, pool.Address, pool.ServerName, pool.Authority, login.User, login.Password, login.Database} {
		add(part)
	}
	names := slices.AppendSeq(make([]string, 0, 8), maps.Keys(login.Parameters))
	slices.Sort(names)
	for _, name := range names {
		add(name)
		add(login.Parameters[name])
	}
	if pool.TLS {
		text = append(text, 1)
	}
	return sha256.Sum256(text)
}

// kept is a connection to a pooler that requests with one login use one after another.
type kept struct {
	conn  *pgconn.PgConn
	key   loginKey
	pool  Pool
	since time.Time // When it logged in.
	fresh bool      // No request has used it yet.
	// altered is that its session is not as a login leaves it.
	altered bool
	// interrupted is that a cancel request may come late.
	interrupted bool
	// midway is that a statement's answer was not read to its end.
	midway bool
	// transaction is the status of the last ReadyForQuery; see idle.
	transaction byte
}

// idle is a session that is in no transaction (PostgreSQL documentation, section Message
// Formats, ReadyForQuery).
const idle = 'I'

// usable is whether another request may have the connection.
func (c *kept) usable() bool {
	return !c.altered && !c.interrupted && !c.midway && c.transaction == idle && unread(c.conn) == 0
}

func (c *kept) close(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer stop()
	_ = c.conn.Close(ctx) // Nobody is left to tell.
}

// A keeper keeps idle connections.
type keeper struct {
	once sync.Once
	seed [sha256.Size]byte

	mu      sync.Mutex
	idle    map[loginKey][]*kept
	waiting map[loginKey][]chan *kept
	total   int
	timer   *time.Timer // Runs while anything is kept.
	closed  bool
}

// take returns a connection that was kept, if there is one. It may have been closed by
// the other side. The last one kept is the first to be used: what a rush left behind ages.
func (k *keeper) take(ctx context.Context, key loginKey, lifetime time.Duration) *kept {
	for {
		c := k.pop(key)
		if c == nil || time.Since(c.since) < lifetime {
			return c
		}
		c.close(ctx)
	}
}

func (k *keeper) pop(key loginKey) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	shelf := k.idle[key]
	if len(shelf) == 0 {
		return nil
	}
	c := shelf[len(shelf)-1]
	k.set(key, shelf[:len(shelf)-1])
	k.total--
	return c
}

func (k *keeper) set(key loginKey, shelf []*kept) {
	if len(shelf) == 0 {
		delete(k.idle, key)
		return
	}
	k.idle[key] = shelf
}

// give keeps a connection, or closes it where it may not be kept.
func (k *keeper) give(ctx context.Context, c *kept, limits KeptLimits, sweep func()) {
	if c.pool.Session || time.Since(c.since) >= limits.For || !c.usable() || !k.push(c, limits, sweep) {
		c.close(ctx)
	}
}

func (k *keeper) push(c *kept, limits KeptLimits, sweep func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hand(c) {
		return true
	}
	if k.closed || k.total >= limits.Idle || len(k.idle[c.key]) >= limits.PerLogin {
		return false
	}
	if k.idle == nil {
		k.idle = map[loginKey][]*kept{}
	}
	k.idle[c.key] = append(k.idle[c.key], c)
	k.total++
	if k.timer == nil {
		k.timer = time.AfterFunc(sweepInterval, sweep)
	}
	return true
}

// sweepInterval is how soon connections are closed that have outlived their pool.
const sweepInterval = time.Second

// sweep closes what stays no longer, and looks again later if anything is left.
func (k *keeper) sweep(stays func(*kept) bool, again func()) {
	var gone []*kept
	k.mu.Lock()
	for key, shelf := range k.idle {
		var left []*kept
		for _, c := range shelf {
			if stays(c) {
				left = append(left, c)
			} else {
				gone = append(gone, c)
			}
		}
		k.set(key, left)
	}
	k.total -= len(gone)
	k.timer = nil
	if k.total > 0 {
		k.timer = time.AfterFunc(sweepInterval, again)
	}
	k.mu.Unlock()
	for _, c := range gone {
		c.close(context.Background())
	}
}

// close closes all, and lets nothing be kept any more.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.sweep(func(*kept) bool { return false }, nil)
}
