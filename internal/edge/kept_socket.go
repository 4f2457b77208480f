// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"errors"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// unread is how many bytes were received that no statement asked for.
func unread(conn *pgconn.PgConn) int { return conn.Frontend().ReadBufferLen() }

// connected is whether the other side of an idle connection has neither closed it nor
// said anything: what PgBouncer says to an idle client is that it closes. It asks the
// kernel alone and waits for nothing.
func connected(conn *pgconn.PgConn) bool {
	socket := conn.Conn()
	if encrypted, ok := socket.(interface{ NetConn() net.Conn }); ok {
		socket = encrypted.NetConn()
	}
	descriptor, ok := socket.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := descriptor.SyscallConn()
	if err != nil {
		return false
	}
	var silent bool
	// Not Read, which awaits other readers: after a slow write pgconn has one in the
	// background, which stays until the pooler says something.
	err = raw.Control(func(fd uintptr) {
		var peeked [1]byte
		_, _, err := syscall.Recvfrom(int(fd), peeked[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && silent
}
