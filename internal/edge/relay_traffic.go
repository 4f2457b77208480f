// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/binary"
	"time"
)

// messages follows the messages in a stream of bytes by their headers, however the
// stream is cut. The zero value stands before the first.
type messages struct {
	header [5]byte // Kind and length, of which have are there.
	have   int
	left   uint32 // Bytes of the body to come.
	first  byte   // The body's first byte.
	last   byte   // The kind of the message that ended last.
	// lost is set by a length that none has: from there on nothing is known.
	lost  bool
	total int64
}

// next consumes p to the end of a message, or all of it, and returns the rest.
func (m *messages) next(p []byte) (rest []byte, ended bool) {
	if m.have < len(m.header) {
		n := copy(m.header[m.have:], p)
		m.have, m.total, p = m.have+n, m.total+int64(n), p[n:]
		if m.have < len(m.header) {
			return nil, false
		}
		m.open()
	}
	if m.lost {
		m.total += int64(len(p))
		return nil, false
	}
	n := min(len(p), int(m.left))
	if n > 0 && m.left == m.length() {
		m.first = p[0]
	}
	m.left -= uint32(n) //nolint:gosec // At most what is left.
	m.total += int64(n)
	if m.left > 0 {
		return nil, false
	}
	m.have, m.last = 0, m.header[0]
	return p[n:], true
}

func (m *messages) open() {
	m.first = 0
	if binary.BigEndian.Uint32(m.header[1:]) < 4 {
		m.lost = true
		return
	}
	m.left = m.length()
}

func (m *messages) length() uint32 { return binary.BigEndian.Uint32(m.header[1:]) - 4 }

// between is whether one message has ended and the next has not begun.
func (m *messages) between() bool { return m.have == 0 && !m.lost }

// traffic knows whether the pooler owes the client an answer.
type traffic struct {
	asks, answers messages
	// Requests that end with a ReadyForQuery, and how many came.
	requested, ready int
	// begun is a request by extended query that has not come to its Sync.
	begun bool
	// status is the last ReadyForQuery's: I, T or E.
	status byte
	// moved is when a byte last went either way.
	moved time.Time
}

// ask follows what the client sends.
func (t *traffic) ask(p []byte) {
	for len(p) > 0 {
		var ended bool
		if p, ended = t.asks.next(p); !ended {
			return
		}
		switch t.asks.last {
		case 'Q', 'F', 'S': // Query, FunctionCall, Sync
			t.requested++
			t.begun = false
		case 'P', 'B', 'D', 'E', 'C', 'H': // Parse, Bind, Describe, Execute, Close, Flush
			t.begun = true
		}
	}
}

// answer follows what the pooler sends.
func (t *traffic) answer(p []byte) {
	for len(p) > 0 {
		var ended bool
		if p, ended = t.answers.next(p); !ended {
			return
		}
		if t.answers.last == 'Z' {
			t.ready++
			t.status = t.answers.first
		}
	}
}

// waiting is whether the pooler waits for the client. A Sync that PostgreSQL ignores,
// for it came within a COPY, makes this false for the rest of the session.
func (t *traffic) waiting() bool {
	return t.requested == t.ready && !t.begun && t.asks.between() && t.answers.between()
}

// idle is whether the client has no transaction open either.
func (t *traffic) idle() bool { return t.waiting() && t.status == 'I' }

// over is whether the end of the pooler's bytes needs no explanation: the client has
// said goodbye, or the pooler has said why.
func (t *traffic) over() bool { return t.asks.last == 'X' || t.answers.last == 'E' }
