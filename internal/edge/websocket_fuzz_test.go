// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzFrames takes what a stranger sends after the upgrade, which need not be frames at
// all, whole and byte by byte: the session ends, and in the same way.
func FuzzFrames(f *testing.F) {
	for _, opening := range openings(f) {
		f.Add(frame(0x82, opening))
		f.Add(append(frame(0x02, opening[:len(opening)/2]), frame(0x80, opening[len(opening)/2:])...))
	}
	f.Add(frame(0x81, []byte("select 1")))
	f.Add(frame(0x89, []byte("ping")))
	f.Add(frame(0x88, []byte{3, 232}))
	f.Add(frame(0xf2, []byte("reserved bits")))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0x82, 0x05, 'b', 'a', 'r', 'e', '!'})
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole := ended(t, bytes.NewReader(sent))
		inBytes := ended(t, iotest.OneByteReader(bytes.NewReader(sent)))
		if whole != inBytes {
			t.Errorf("whole it ends in %q, byte by byte in %q", whole, inBytes)
		}
	})
}

// frame is masked with zeros, as a client's may be.
func frame(first byte, payload []byte) []byte {
	out := binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(len(payload)))
	return append(append(out, 0, 0, 0, 0), payload...)
}

// ended is the SQLSTATE in which a session with no pool ends.
func ended(t *testing.T, sent io.Reader) string {
	t.Helper()
	end := make(chan string, 1)
	gateway := &WebSocket{
		Directory: &Directory{}, Door: &Door{}, Limiter: &Limiter{},
		Ended: func(e WebSocketEnd) { end <- e.Code },
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2", http.NoBody)
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Sec-Websocket-Version", "13")
	request.Header.Set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
	gateway.ServeHTTP(&stranger{ResponseRecorder: httptest.NewRecorder(), sent: sent}, request)
	select {
	case code := <-end:
		return code
	case <-time.After(time.Minute):
		t.Fatal("the session does not end")
		return ""
	}
}

// stranger is a connection that says what it says, and hears nothing.
type stranger struct {
	*httptest.ResponseRecorder
	net.Conn
	sent io.Reader
}

func (s *stranger) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return s, bufio.NewReadWriter(bufio.NewReader(s), bufio.NewWriter(s)), nil
}

func (s *stranger) Read(p []byte) (int, error)     { return s.sent.Read(p) }
func (*stranger) Write(p []byte) (int, error)      { return len(p), nil }
func (*stranger) Close() error                     { return nil }
func (*stranger) SetDeadline(time.Time) error      { return nil }
func (*stranger) SetReadDeadline(time.Time) error  { return nil }
func (*stranger) SetWriteDeadline(time.Time) error { return nil }
