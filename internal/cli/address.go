// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/postgres"
	"github.com/poolfleet/poolfleet/internal/publish"
)

// login is a server, or a pool, and who to be there.
type login struct {
	postgres.Source

	// options is libpq's parameter of that name.
	options string
}

// pooledLogin is what a published Secret says of the pool itself.
func pooledLogin(pool *poolv1.ConnectionPool, data map[string][]byte) (login, error) {
	port, err := strconv.ParseUint(string(data[publish.KeyPort]), 10, 16)
	host := string(data[publish.KeyHost])
	if err != nil || host == "" {
		return login{}, wrong("the published Secret has no host and port: the operator repairs it within seconds if it runs")
	}
	user := publish.ReadLogin(data)
	source := postgres.Source{
		Host: host, Port: uint16(port), Database: string(data[publish.KeyDatabase]),
		User: user.Username, Password: user.Password, TLSMode: pooledTLS(pool, data),
	}
	if source.TLSMode != sslDisable {
		source.CA = string(data[publish.KeyCA])
	}
	return login{Source: source}, nil
}

// Values of libpq's sslmode.
const (
	sslDisable    = "disable"
	sslPrefer     = "prefer"
	sslRequire    = "require"
	sslVerifyCA   = "verify-ca"
	sslVerifyFull = "verify-full"
)

// pooledTLS is the strictest sslmode that the pool's certificate stands. Where the pool
// tells no authority there is nothing to verify it with.
func pooledTLS(pool *poolv1.ConnectionPool, data map[string][]byte) string {
	switch host := string(data[publish.KeyHost]); {
	case pool.Spec.TLS.Mode == poolv1.ClientTLSDisable:
		return sslDisable
	case len(data[publish.KeyCA]) > 0 && slices.Contains(pool.Status.TLS.DNSNames, host):
		return sslVerifyFull
	case len(data[publish.KeyCA]) > 0:
		return sslVerifyCA
	case pool.Spec.TLS.Mode == "" || pool.Spec.TLS.Mode == poolv1.ClientTLSAllow || pool.Spec.TLS.Mode == poolv1.ClientTLSPrefer:
		return sslPrefer
	}
	return sslRequire
}

// directLogin is what the published Secret says of the server itself, with the TLS of
// the pool's spec.
func (s *session) directLogin(ctx context.Context, pool *poolv1.ConnectionPool, data map[string][]byte) (login, error) {
	source, err := postgres.ParseSecret(data, publish.KeyDirectURL)
	if err != nil {
		return login{}, wrong("reading DIRECT_URL: %w", err)
	}
	way, err := s.upstreamTLS(ctx, pool.Spec.Upstream.TLS)
	if err != nil {
		return login{}, err
	}
	if source, err = source.WithTLS(way); err != nil {
		return login{}, wrong("preparing TLS: %w", err)
	}
	return login{Source: source, options: source.Parameter("options")}, nil
}

// upstreamTLS reads the Secrets that the spec names for the way to the server.
func (s *session) upstreamTLS(ctx context.Context, spec poolv1.UpstreamTLS) (postgres.TLS, error) {
	way := postgres.TLS{Mode: string(spec.Mode)}
	if name := spec.CASecretRef.Name; name != "" {
		secret, err := s.secret(ctx, name)
		if err != nil {
			return way, err
		}
		way.CA = string(secret.Data[cmp.Or(spec.CASecretRef.Key, publish.KeyCA)])
	}
	if name := spec.ClientCertSecretRef.Name; name != "" {
		secret, err := s.secret(ctx, name)
		if err != nil {
			return way, err
		}
		way.Certificate, way.Key = string(secret.Data[corev1.TLSCertKey]), string(secret.Data[corev1.TLSPrivateKeyKey])
	}
	return way, nil
}

// reached is where a login's host is reached from here.
type reached struct {
	// address is what to dial in place of the host: empty where the host's own do.
	address string
	port    uint16
	// through says in words what is between; empty where nothing is.
	through string
	close   func()
}

// reach finds a way to a host: straight, or through the API server where the host is a
// Service of the cluster that this machine has no route to.
func (s *session) reach(ctx context.Context, host string, port uint16) (reached, error) {
	direct := routable(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if direct == nil {
		return reached{port: port, close: func() {}}, nil
	}
	target, err := s.behind(ctx, host, port)
	if errors.Is(err, errNoService) {
		return reached{}, wrong("this machine does not reach %s, port %d: %w", host, port, direct)
	}
	if err != nil {
		return reached{}, wrong("this machine has no route to %s, and through the API server there is none: %w", host, err)
	}
	local, closer, err := s.forward(ctx, target)
	if err != nil {
		return reached{}, fmt.Errorf("reaching %s: %w", host, err)
	}
	return reached{address: loopback, port: local, through: "pod " + target.pod.Name + ", by port-forward", close: closer}, nil
}
