// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// pipes is a listener for connections within the process, whose deadlines follow
// played time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	conn, open := <-p.conns
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.conns) }); return nil }
func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// slowly has a handler answer a client that sends a request and nothing else. It
// returns the client's end, and closes it with the test.
func slowly(t *testing.T, sql http.HandlerFunc, request string) net.Conn {
	t.Helper()
	directory := &edge.Directory{Domain: domain}
	server := &http.Server{
		Handler: &edge.Server{
			SQL: sql, Log: slog.New(slog.DiscardHandler),
			Metrics: edge.NewMetrics(directory, &edge.Limiter{}, func() int { return 0 }),
		},
		IdleTimeout: time.Hour, ReadHeaderTimeout: time.Hour,
	}
	listener := &pipes{conns: make(chan net.Conn)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	client, theirs := net.Pipe()
	listener.conns <- theirs
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.Close(), server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return client
}

func TestAClientThatNeverReadsItsAnswerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := make(chan error, 1)
		begun := time.Now()
		slowly(t, func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 10<<20))
			written <- err
		}, "POST /sql HTTP/1.1\r\nHost: api\r\n\r\n")
		if err := <-written; err == nil {
			t.Error("an answer that nobody reads is written")
		}
		if waited := time.Since(begun); waited > time.Minute {
			t.Errorf("it has been waited for for %v", waited)
		}
	})
}

func TestAClientThatReadsSlowlyGetsTheWholeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := bytes.Repeat([]byte("x"), 1<<20)
		client := slowly(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) },
			"POST /sql HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
		var got bytes.Buffer
		begun, err := time.Now(), error(nil)
		for err == nil {
			_, err = io.CopyN(&got, client, 32<<10)
			time.Sleep(10 * time.Second)
		}
		if !errors.Is(err, io.EOF) || bytes.Count(got.Bytes(), []byte("x")) < len(answer) {
			t.Errorf("after %v it has %d bytes: %v", time.Since(begun), got.Len(), err)
		}
	})
}

func TestAClientThatDoesNotSendTheBodyItSpeaksOfIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := slowly(t, nil, "POST /elsewhere HTTP/1.1\r\nHost: api\r\nContent-Length: 1000\r\n\r\n")
		begun := time.Now()
		if _, err := io.Copy(io.Discard, client); err != nil {
			t.Error(err)
		}
		if waited := time.Since(begun); waited > time.Minute {
			t.Errorf("it has been waited for for %v", waited)
		}
	})
}
