// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coder/websocket"
)

// stream is what a client sends and is sent, whatever messages it comes in. One
// goroutine may read while another writes. Deadlines are the connection's, whose close
// ends both.
type stream struct {
	ws *websocket.Conn
	// limit bounds a message, 0 does not.
	limit int64

	message io.Reader // nil between two
	read    int64     // of the message
}

// Read returns bytes of one message, at least one.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if err := s.wait(); err != nil {
			return 0, err
		}
		n, err := s.take(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// wait returns once a message has begun. No buffer is needed for the wait.
func (s *stream) wait() error {
	if s.message != nil {
		return nil
	}
	kind, message, err := s.ws.Reader(context.Background())
	if err != nil {
		return fmt.Errorf("waiting for the client: %w", errors.Join(err, errGone))
	}
	if kind != websocket.MessageBinary {
		return &ending{status: websocket.StatusUnsupportedData, response: fatal(codeProtocolViolation,
			"a text message came in, where PostgreSQL's protocol travels in binary messages")}
	}
	s.message, s.read = message, 0
	return nil
}

// take reads on in the message that has begun; it returns 0 at its end.
func (s *stream) take(p []byte) (int, error) {
	n, err := s.message.Read(p)
	s.read += int64(n)
	if s.limit > 0 && s.read > s.limit {
		return 0, &ending{status: websocket.StatusMessageTooBig, response: fatal(codeLimit,
			fmt.Sprintf("a WebSocket message is longer than %d bytes; PostgreSQL's messages may be split over several", s.limit))}
	}
	if errors.Is(err, io.EOF) {
		s.message = nil
		return n, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading from the client: %w", errors.Join(err, errGone))
	}
	return n, nil
}

// Write sends p as one message.
func (s *stream) Write(p []byte) (int, error) {
	if err := s.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, fmt.Errorf("writing to the client: %w", errors.Join(err, errGone))
	}
	return len(p), nil
}
