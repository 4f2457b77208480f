// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// What a WebSocket keeps to read the headers of frames, and to write them in one piece
// with a short payload. Longer payloads pass by.
const (
	readBuffer  = 64
	writeBuffer = 512
)

// upgrade is a ResponseWriter that gives its connection away with small buffers and a
// time limit for writes, and whose refusals are JSON.
type upgrade struct {
	http.ResponseWriter
	patience time.Duration
	conn     *patientConn
	status   int
}

// WriteHeader keeps the status of a refusal until its words are known.
func (u *upgrade) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		u.ResponseWriter.WriteHeader(status)
		return
	}
	u.status = status
}

// Write turns the words of a refusal into JSON.
func (u *upgrade) Write(words []byte) (int, error) {
	body, err := json.Marshal(map[string]string{"message": strings.TrimSpace(string(words))})
	if err != nil {
		return 0, fmt.Errorf("writing a refusal: %w", err)
	}
	u.Header().Set("Content-Type", "application/json")
	u.ResponseWriter.WriteHeader(u.status)
	if _, err := u.ResponseWriter.Write(body); err != nil {
		return 0, err
	}
	return len(words), nil
}

// Hijack keeps what the client has sent already, and lets go of the HTTP server's buffers.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return nil, nil, fmt.Errorf("writing the answer to the upgrade: %w", err)
	}
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, nil, fmt.Errorf("reading what came with the upgrade: %w", err)
	}
	reader := bufio.NewReaderSize(bytes.NewReader(bytes.Clone(early)), max(readBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, fmt.Errorf("reading what came with the upgrade: %w", err)
	}
	u.conn = &patientConn{Conn: conn, patience: u.patience}
	return u.conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(u.conn, writeBuffer)), nil
}

// patientConn bounds every write.
type patientConn struct {
	net.Conn
	patience time.Duration
}

// Write fails when the peer does not receive for longer than patience.
func (c *patientConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
