// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
)

// FuzzStartup reads what a stranger opens with, whole and byte by byte: the outcome is
// the same, and what follows the password is left for the pooler.
func FuzzStartup(f *testing.F) {
	for _, seed := range openings(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, inBytes := bytes.NewReader(sent), bytes.NewReader(sent)
		first := opened(whole)
		second := opened(iotest.OneByteReader(inBytes))
		if first != second || whole.Len() != inBytes.Len() {
			t.Errorf("whole:    %s, %d bytes left\nin bytes: %s, %d bytes left", first, whole.Len(), second, inBytes.Len())
		}
		if len(sent)-whole.Len() > 5*maxOpening {
			t.Errorf("%d bytes were read", len(sent)-whole.Len())
		}
	})
}

// opened is all that comes of a login up to the pool.
func opened(sent io.Reader) string {
	var said bytes.Buffer
	client := struct {
		io.Reader
		io.Writer
	}{sent, &said}
	opening, err := readOpening(client)
	if err != nil {
		return fmt.Sprintf("said %q, ends: %v", &said, err)
	}
	startup, ok := opening.(*pgproto3.StartupMessage)
	if !ok {
		return fmt.Sprintf("said %q, opens: %v", &said, opening)
	}
	prelude, err := negotiate(startup)
	if err != nil {
		return fmt.Sprintf("ends: %v", err)
	}
	login, err := loginOf(startup)
	if err != nil {
		return fmt.Sprintf("ends: %v", err)
	}
	login.Password, err = askPassword(client, prelude)
	return fmt.Sprintf("said %q, logs in as %v, ends: %v", &said, login, err)
}

// openings are what clients of all sorts begin with.
func openings(t testing.TB) [][]byte {
	t.Helper()
	encode := func(messages ...pgproto3.FrontendMessage) []byte {
		var out []byte
		for _, message := range messages {
			var err error
			if out, err = message.Encode(out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	startup := func(version uint32, parameters map[string]string) pgproto3.FrontendMessage {
		return &pgproto3.StartupMessage{ProtocolVersion: version, Parameters: parameters}
	}
	app := map[string]string{"user": "app", "database": "shop", "application_name": "a worker"}
	password := &pgproto3.PasswordMessage{Password: "secret"}
	return [][]byte{
		encode(startup(pgproto3.ProtocolVersion30, app), password, &pgproto3.Query{String: "select 1"}),
		encode(&pgproto3.SSLRequest{}, &pgproto3.GSSEncRequest{}, startup(pgproto3.ProtocolVersion32, app), password),
		encode(&pgproto3.SSLRequest{}, &pgproto3.SSLRequest{}, &pgproto3.SSLRequest{}, &pgproto3.SSLRequest{}),
		encode(startup(pgproto3.ProtocolVersion30, map[string]string{"user": "app", "_pq_.x": "1"}), &pgproto3.Terminate{}),
		encode(&pgproto3.CancelRequest{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}),
		{0, 0, 0, 8, 0, 3, 0, 0},
		{0, 0, 0, 9, 0, 3, 0, 0, 0},
		{0, 0, 0, 3},
		{0xff, 0xff, 0xff, 0xff},
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		nil,
	}
}

// FuzzMessages follows messages in a stream cut anywhere: what it knows at the end does
// not depend on the cuts, and where the stream holds whole messages it has seen each.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{'Z', 0, 0, 0, 5, 'I', 'S', 0, 0, 0, 4, 'Q', 0, 0, 0, 6, 'a', 0}, uint8(1))
	f.Add([]byte{'D', 0, 0, 1, 0, 'x'}, uint8(3))
	f.Add([]byte{'X', 0, 0, 0, 3, 'x'}, uint8(2))
	f.Add([]byte{'X', 0xff, 0xff, 0xff, 0xff, 'x'}, uint8(6))
	f.Fuzz(func(t *testing.T, sent []byte, size uint8) {
		var whole, cut traffic
		whole.ask(sent)
		whole.answer(sent)
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			cut.ask(rest[:n])
			cut.answer(rest[:n])
			rest = rest[n:]
		}
		if whole != cut {
			t.Errorf("whole: %+v\ncut:   %+v", whole, cut)
		}
		if whole.asks.total != int64(len(sent)) {
			t.Errorf("%d of %d bytes are counted", whole.asks.total, len(sent))
		}
		if requests, exact := counted(sent); exact && (whole.requested != requests || !whole.asks.between()) {
			t.Errorf("%d requests were followed, there are %d", whole.requested, requests)
		}
	})
}

// counted counts requests in a stream of whole messages.
func counted(sent []byte) (requests int, exact bool) {
	for len(sent) > 0 {
		if len(sent) < 5 {
			return 0, false
		}
		length := uint64(binary.BigEndian.Uint32(sent[1:]))
		if length < 4 || uint64(len(sent)) < 1+length {
			return 0, false
		}
		if bytes.IndexByte([]byte("QFS"), sent[0]) >= 0 {
			requests++
		}
		sent = sent[1+length:]
	}
	return requests, true
}
