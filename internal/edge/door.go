// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Login is what a client logs in to a pool with. It is the client's secret: it is
// never logged, and nothing keeps it beyond the client's request or socket.
type Login struct {
	User     string
	Password string
	Database string
	// Parameters are the startup packet's others (PostgreSQL documentation, section
	// Message Flow, Start-up), such as application_name.
	Parameters map[string]string
}

// Door is the one place where clients are logged in to poolers.
type Door struct {
	// Timeout bounds a login.
	Timeout time.Duration
}

// Enter logs a client in to a pool. The error is a *pgconn.PgError where the pooler
// refuses the client, a *Refusal where the pool can not be reached or the client has to wait.
func (d *Door) Enter(ctx context.Context, pool Pool, _ netip.Addr, login Login) (*pgconn.PgConn, error) {
	config, err := pool.config(login)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, d.Timeout)
	defer stop()
	return pgconn.ConnectConfig(ctx, config)
}

// config has the pooler prove that it knows the password's verifier: no other way to
// log in is taken, a password in plain text least of all.
func (p Pool) config(login Login) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig("sslmode=disable require_auth=scram-sha-256")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, fmt.Errorf("reading the address of pool %s/%s: %w", p.Namespace, p.Name, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reading the port of pool %s/%s: %w", p.Namespace, p.Name, err)
	}
	config.Host, config.Port, config.TLSConfig = host, uint16(number), p.tls(host)
	config.User, config.Password, config.Database = login.User, login.Password, login.Database
	config.RuntimeParams = login.Parameters
	return config, nil
}

func (p Pool) tls(host string) *tls.Config {
	if !p.TLS {
		return nil
	}
	if p.Authority == "" {
		return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // See Pool.Authority.
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.Authority))
	return &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}
}
