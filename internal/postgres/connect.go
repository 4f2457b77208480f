// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	errForbidden = errors.New("the address is not among those allowed")
	errHandshake = errors.New("the TLS handshake did not succeed")
)

// attempt is what is to be known of a failed connection beside its error. pgx may
// dial once more in the background, to cancel what it has given up.
type attempt struct {
	// reply is the server's first byte. To a request for TLS, PostgreSQL says S or N.
	reply atomic.Uint32
}

// refusesTLS is what a server says to a request for TLS that it does not speak.
const refusesTLS = 'N'

// connect opens a connection as PgBouncer would with the source's sslmode: it goes
// on in plain text only where the server says that it does not speak TLS.
func (o *Observer) connect(ctx context.Context, source Source) (*pgconn.PgConn, error) {
	var seen attempt
	conn, err := pgconn.ConnectConfig(ctx, o.config(source, &seen))
	if err != nil && seen.reply.Load() == refusesTLS && plainIsFine(source.TLSMode) {
		source.TLSMode = tlsDisable
		conn, err = pgconn.ConnectConfig(ctx, o.config(source, &seen))
	}
	if err != nil {
		return nil, explain(source, seen.reply.Load(), err)
	}
	return conn, nil
}

// blank is a configuration that names nothing: pgx takes none that it has not parsed.
func blank() *pgconn.Config {
	config, err := pgconn.ParseConfig("host=localhost port=1 user=nobody password=none dbname=none sslmode=disable target_session_attrs=any")
	if err != nil {
		panic("the environment has a PG... variable that can not be read: " + err.Error())
	}
	return config
}

// config sets every field that a connection string or the environment could: the
// string is not ours, and pgx would read files that it names.
func (o *Observer) config(source Source, seen *attempt) *pgconn.Config {
	config := o.blank.Copy()
	config.Host, config.Port = strings.TrimSuffix(source.Host, "."), source.Port
	config.User, config.Password, config.Database = source.User, source.Password, source.Database
	config.RuntimeParams = map[string]string{"application_name": ApplicationName, "client_encoding": "UTF8"}
	config.ConnectTimeout = connectTimeout
	config.MaxProtocolMessageBodyLen = maxAnswer
	config.DialFunc = o.dialer(seen)
	config.AfterNetConnect = handshake
	config.SSLNegotiation = "postgres" // As PgBouncer does it.
	config.TLSConfig, config.Fallbacks = nil, nil
	if source.TLSMode != tlsDisable {
		config.TLSConfig = o.tlsConfig(source)
	}
	return config
}

// dialer refuses addresses as the kernel is about to be asked for them, when no
// name stands between what is checked and what is dialled.
func (o *Observer) dialer(seen *attempt) pgconn.DialFunc {
	dialer := &net.Dialer{
		Timeout: connectTimeout,
		Control: func(_, address string, _ syscall.RawConn) error { return o.permit(address) },
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &listener{Conn: conn, seen: seen}, nil
	}
}

func (o *Observer) permit(address string) error {
	if len(o.options.AllowedCIDRs) == 0 {
		return nil
	}
	endpoint, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading the address to dial: %w", errors.Join(errForbidden, err))
	}
	for _, prefix := range o.options.AllowedCIDRs {
		if prefix.Contains(endpoint.Addr().Unmap().WithZone("")) {
			return nil
		}
	}
	return errForbidden
}

// listener notes the first byte that the server says, and hears it to its end.
type listener struct {
	net.Conn
	seen  *attempt
	heard bool
}

// Read reads from the connection.
func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 && !l.heard {
		l.heard = true
		l.seen.reply.Store(uint32(p[0]))
	}
	return n, err
}

// Write writes to the connection. That the server is gone is left to Read to tell,
// which has its last word first: with TLS 1.3 a server looks at a client certificate
// when the handshake is over for us, and may have gone before our next message.
func (l *listener) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(p), nil
	}
	return n, err
}

// handshake brings TLS up before PostgreSQL's protocol starts, so that it is
// plain which of the two went wrong.
func handshake(ctx context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return conn, nil
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		return conn, fmt.Errorf("%w: %w", errHandshake, err)
	}
	return conn, nil
}
