// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/netip"
	"time"
)

// KeptLimits bound the connections to poolers that are kept between requests.
type KeptLimits struct {
	// Idle bounds those that nobody uses, PerLogin those of them with one user, password
	// and database of a pool.
	Idle     int
	PerLogin int
	// For is the age at which a connection is closed, counted from its login and used or
	// not. It is for how long a password may go on working that the pool takes no more.
	For time.Duration
}

// DefaultKeptLimits are those of the gateway's flags.
var DefaultKeptLimits = KeptLimits{Idle: 1024, PerLogin: 64, For: time.Minute}

// Connections log in to poolers, and keep connections that have nothing of a request
// left for the next request with the same login, which then needs no SCRAM. All kinds
// of requests may share them.
type Connections struct {
	Directory *Directory
	Door      *Door
	Limits    KeptLimits

	kept keeper
}

// Take returns a connection that nobody else has until it is released. The error is that
// of Door.Enter, or why the context has ended.
//
// A connection that was kept proves what a login would: it was made with all of the same
// login, no longer ago than KeptLimits.For.
func (c *Connections) Take(ctx context.Context, pool Pool, caller netip.Addr, login Login) (*Conn, error) {
	conn := &Conn{from: c, key: c.kept.keyOf(pool, login), pool: pool, caller: caller, login: login}
	return conn, conn.connect(ctx)
}

// Close closes the connections that are kept, and keeps none from now on.
func (c *Connections) Close() { c.kept.close() }

// keep takes a connection back.
func (c *Connections) keep(ctx context.Context, k *kept) { c.kept.give(ctx, k, c.Limits, c.sweep) }

// sweep closes connections that are too old, and those of pools that are no longer
// where they were.
func (c *Connections) sweep() {
	c.kept.sweep(func(k *kept) bool {
		now, err := c.Directory.Find(k.pool.Label + "." + c.Directory.Domain)
		return err == nil && now.sameDoor(k.pool) && time.Since(k.since) < c.Limits.For && connected(k.conn)
	}, c.sweep)
}

// sameDoor is whether a login at one pool is a login at the other.
func (p Pool) sameDoor(other Pool) bool {
	return p.Namespace == other.Namespace && p.Name == other.Name && p.Address == other.Address &&
		p.TLS == other.TLS && p.ServerName == other.ServerName && p.Authority == other.Authority && p.Session == other.Session
}
