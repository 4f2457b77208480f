// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/jackc/pgx/v5/pgproto3"
)

// dial connects to the pool's address, with TLS where its poolers speak that. The
// deadline is the context's.
func (p Pool) dial(ctx context.Context) (net.Conn, error) {
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, fmt.Errorf("reading the address of pool %s/%s: %w", p.Namespace, p.Name, err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	secured, err := secure(ctx, conn, p.tls(host))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// secure asks for TLS as PostgreSQL's clients do (section SSL Session Encryption).
func secure(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if config == nil {
		return conn, nil
	}
	request, err := (&pgproto3.SSLRequest{}).Encode(nil)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errors.New("the pooler does not speak TLS")
	}
	return tls.Client(conn, config), nil
}

// A verification is how to tell a pooler from others.
type verification struct{ authority, serverName string }

// verifications has what connections have in common that are verified alike. Each keeps
// the authority's certificates, which were 4 KiB for each. A session of TLS that goes on
// from an earlier one needs no certificate at all, and keeps none of the handshake's.
var verifications = struct {
	sync.Mutex
	known *simplelru.LRU[verification, *tls.Config]
}{known: newLRU[verification, *tls.Config](rememberedVerifications)}

const (
	// rememberedVerifications is more than there are pools on a gateway, mostly.
	rememberedVerifications = 1024
	// rememberedSessions are one for each name that a certificate is verified for.
	rememberedSessions = 1
)

func (v verification) config() *tls.Config {
	verifications.Lock()
	defer verifications.Unlock()
	if config, found := verifications.known.Get(v); found {
		return config
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(v.authority))
	config := &tls.Config{
		RootCAs: roots, ServerName: v.serverName, MinVersion: tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(rememberedSessions),
	}
	verifications.known.Add(v, config)
	return config
}
