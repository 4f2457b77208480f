// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Login is what a client logs in to a pool with. It is the client's secret: it is never
// logged, and nothing keeps it beyond the client's request or socket, or a login with it
// that was under way then.
type Login struct {
	User     string
	Password string
	Database string
	// Parameters are the startup packet's others (PostgreSQL documentation, section
	// Message Flow, Start-up), such as application_name.
	Parameters map[string]string
}

// Door is the one place where clients are logged in to poolers. It takes them one after
// another, and those who guess passwords slowly; see turns.
type Door struct {
	// Timeout bounds a login, with the time it waits for its turn.
	Timeout time.Duration
	// Failed, where it is set, is told of every login with a wrong user or password.
	Failed func(Pool)
	// Log, where it is set, has why a pool could not be reached, which clients are not told.
	Log *slog.Logger

	turns turns
}

// Enter logs a client in to a pool. The error is a *pgconn.PgError where the pooler
// refuses the client, a *Refusal where the pool can not be reached or the client has to wait.
func (d *Door) Enter(ctx context.Context, pool Pool, caller netip.Addr, login Login) (*pgconn.PgConn, error) {
	return d.enter(ctx, ctx, pool, caller, login)
}

// enter gives up waiting for the login's turn with one context, and the login with the other.
func (d *Door) enter(waiting, ctx context.Context, pool Pool, caller netip.Addr, login Login) (*pgconn.PgConn, error) {
	if err := pool.Ready(); err != nil {
		return nil, err
	}
	config, err := pool.config(login)
	if err != nil {
		return nil, d.explain(ctx, pool, err)
	}
	waiting, leave := context.WithTimeout(waiting, d.Timeout)
	defer leave()
	inTime, stop := context.WithTimeout(ctx, d.Timeout)
	defer stop()
	var conn *pgconn.PgConn
	err = d.turns.take(waiting, newAttempt(pool, caller, login), func() error {
		conn, err = pgconn.ConnectConfig(inTime, config)
		return authenticated(err, login.User)
	})
	if wrongPassword(err) && d.Failed != nil {
		d.Failed(pool)
	}
	if err != nil {
		return nil, d.explain(ctx, pool, err)
	}
	return conn, nil
}

// policy is what holds for every login. It does not depend on the login: to read it
// takes longer than to copy it.
var policy = sync.OnceValues(func() (*pgconn.Config, error) {
	// The pooler proves that it knows the password's verifier: no other way to log in is
	// taken, a password in plain text least of all.
	return pgconn.ParseConfig("sslmode=disable require_auth=scram-sha-256")
})

func (p Pool) config(login Login) (*pgconn.Config, error) {
	if err := login.check(); err != nil {
		return nil, err
	}
	read, err := policy()
	if err != nil {
		return nil, fmt.Errorf("reading the settings of logins: %w", err)
	}
	config := read.Copy()
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, fmt.Errorf("reading the address of pool %s: %w", p, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reading the port of pool %s: %w", p, err)
	}
	config.Host, config.Port, config.TLSConfig = host, uint16(number), p.tls(host)
	// libpq's environment variables could name other hosts: none but the pool's is dialled.
	config.Fallbacks, config.ValidateConnect = nil, nil
	config.User, config.Password, config.Database = login.User, login.Password, login.Database
	config.RuntimeParams = login.Parameters
	return config, nil
}

// check refuses what would end one text of the startup packet and begin another.
func (l Login) check() error {
	texts := []string{l.User, l.Password, l.Database}
	for name, value := range l.Parameters {
		texts = append(texts, name, value)
	}
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return &Refusal{Status: http.StatusBadRequest, Code: codeProtocolViolation, Message: "a login can not have a zero byte in it"}
		}
	}
	return nil
}

func (p Pool) tls(host string) *tls.Config {
	if !p.TLS {
		return nil
	}
	if p.Authority == "" {
		return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // See Pool.Authority.
	}
	return verification{p.Authority, cmp.Or(p.ServerName, host)}.config()
}
