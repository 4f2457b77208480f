// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bytes"
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

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	cancelRequestLength = 16
	// deliveryTimeout is for a peer that does not answer: its client waits meanwhile.
	deliveryTimeout = 5 * time.Second
)

// cancelRequestHead is what a cancel request begins with: its length and its code.
// Source: CancelRequest in the PostgreSQL docs, Message Formats.
var cancelRequestHead = []byte{0, 0, 0, cancelRequestLength, 0x04, 0xd2, 0x16, 0x2e}

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

// serveRequests has each cancel request delivered that comes to a listener, until that
// is closed. The connection is ended when the one to the receiver is, as PgBouncer
// ends its client's then.
func serveRequests(ctx context.Context, listener net.Listener, deliver func(ctx context.Context, request []byte)) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(deliveryTimeout))
				if request := readRequest(conn); request != nil {
					deliver(ctx, request)
				}
			}()
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(tick) // There are too many open files, say.
		}
	}
}

// readRequest returns a cancel request, or nil where anything else comes.
func readRequest(from io.Reader) []byte {
	request := make([]byte, cancelRequestLength)
	if _, err := io.ReadFull(from, request[:len(cancelRequestHead)]); err != nil || !bytes.HasPrefix(request, cancelRequestHead) {
		return nil
	}
	if _, err := io.ReadFull(from, request[len(cancelRequestHead):]); err != nil {
		return nil
	}
	return request
}

// deliver takes a request to the peer it is for.
func (c *courier) deliver(ctx context.Context, request []byte) {
	id := addressee(request)
	err := errors.New("there is no such peer any more")
	if host := c.host(id); host != "" {
		err = handOver(ctx, new(net.Dialer).DialContext, "tcp", net.JoinHostPort(host, c.port), request)
	}
	if err != nil {
		c.log.Warn("a cancel request was not handed on", "peer", id, "reason", err.Error())
	}
}

// addressee is the peer that a request is for. PgBouncer keeps its id in the second
// and third byte of the key. Source: accept_cancel_request in PgBouncer's objects.c.
func addressee(request []byte) int32 {
	key := request[8:]
	return int32(key[1]) | int32(key[2])<<8
}

// handOver returns when the receiver is done with the request.
func handOver(ctx context.Context, dial pgconn.DialFunc, network, address string, request []byte) error {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	to, err := dial(ctx, network, address)
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

// standIn takes cancel requests where clients used to come, for those that PgBouncer
// still has: told to end it closes that port, and peers could not reach it. Its own
// socket stays open. Nothing else must get there, as it takes all who come from this
// container for administrators. Source: handle_sigterm in PgBouncer's main.c.
func (s *Supervisor) standIn(ctx context.Context) error {
	d := s.leaving
	if d.door != nil {
		return nil
	}
	door, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(s.ListenAddress, s.courier.port))
	if err != nil {
		return fmt.Errorf("listening for cancel requests: %w", err)
	}
	d.door = door
	dial := s.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	go serveRequests(ctx, door, func(ctx context.Context, request []byte) {
		if err := handOver(ctx, dial, "unix", s.Options.paths().Socket(), request); err != nil {
			s.Log.Warn("a cancel request did not reach PgBouncer", "reason", err.Error())
		}
	})
	return nil
}

// leave gives up the port that standIn took.
func (d *departure) leave() {
	if d != nil && d.door != nil {
		_ = d.door.Close()
	}
}
