// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// cancelRequestLength is that of the whole message. Source: CancelRequest in
	// PostgreSQL docs, Message Formats.
	cancelRequestLength = 16
	// deliveryTimeout is for a peer that does not answer: its client waits meanwhile.
	deliveryTimeout = 5 * time.Second
)

// courier takes PgBouncer's cancel requests for its peers to them.
type courier struct {
	log  *slog.Logger
	port string

	mu    sync.Mutex
	hosts map[int32]string
}

func newCourier(o Options) *courier {
	return &courier{log: o.Log, port: strconv.Itoa(int(o.ClientPort))}
}

// know replaces the peers.
func (c *courier) know(hosts map[int32]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts = hosts
}

func (c *courier) host(id int32) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[id]
}

// listenForRequests opens the socket that PgBouncer takes for all of its peers. An earlier
// container may have left its own.
func listenForRequests(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listening for cancel requests: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for cancel requests: %w", err)
	}
	if err := ownAs(path, filepath.Dir(path)); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("listening for cancel requests: %w", err)
	}
	return listener, nil
}

// serve delivers until the listener is closed.
func (c *courier) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			go c.deliver(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(tick) // There are too many open files, say.
		}
	}
}

// deliver takes one request to its peer, and ends the connection it came by when the
// peer is done with it, as PgBouncer then ends its client's.
func (c *courier) deliver(from net.Conn) {
	defer from.Close()
	_ = from.SetDeadline(time.Now().Add(deliveryTimeout))
	request := make([]byte, cancelRequestLength)
	if _, err := io.ReadFull(from, request); err != nil {
		return // Its client was gone before.
	}
	id := addressee(request)
	if err := c.handOver(id, request); err != nil {
		c.log.Warn("a cancel request was not handed on", "peer", id, "reason", err.Error())
	}
}

// addressee is the peer that a request is for. PgBouncer keeps its id in the second
// and third byte of the key. Source: accept_cancel_request in PgBouncer's objects.c.
func addressee(request []byte) int32 {
	key := request[8:]
	return int32(key[1]) | int32(key[2])<<8
}

func (c *courier) handOver(id int32, request []byte) error {
	host := c.host(id)
	if host == "" {
		return errors.New("there is no such peer any more")
	}
	dialer := net.Dialer{Timeout: deliveryTimeout}
	to, err := dialer.Dial("tcp", net.JoinHostPort(host, c.port))
	if err != nil {
		return err
	}
	defer to.Close()
	_ = to.SetDeadline(time.Now().Add(deliveryTimeout))
	if _, err := to.Write(request); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, to)
	return err
}
