// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/internal/contract"
)

// visitTime is how long a pooler may take to serve doctor. It is longer than a server
// takes that has just been woken up.
const visitTime = 20 * time.Second

var errHandshake = errors.New("the TLS handshake did not succeed")

// visit is an attempt to be served by one pooler.
type visit struct {
	pod string
	// unreached is why the pod could not be reached from here.
	unreached error
	// handshake, login and query are why that failed; each needs the one before it.
	handshake, login, query error
	certificate             *x509.Certificate
}

// tls visits every pooler, and says how TLS went.
func (x *examination) tls(ctx context.Context) finding {
	to, err := pooledLogin(x.pool, x.secret.Data)
	if err != nil {
		return fault("", "%v", err).ends()
	}
	var unreached []string
	for _, pod := range x.poolers {
		v := x.session.visit(ctx, to, client.ObjectKeyFromObject(&pod))
		if v.unreached != nil {
			unreached = append(unreached, fmt.Sprintf("pod %s: %v", v.pod, v.unreached))
			continue
		}
		x.visits = append(x.visits, v)
	}
	if len(x.visits) == 0 {
		return noted("no pooler could be reached from here, so connecting is not tried: %s", strings.Join(unreached, "; ")).ends()
	}
	return x.handshakes(to)
}

// handshakes says how TLS went with those that were reached.
func (x *examination) handshakes(to login) finding {
	if v, failed := x.firstError(func(v visit) error { return v.handshake }); failed != nil {
		return fault("Look at status.tls and at who signed the certificate: the published ca.crt has to be its authority",
			"TLS with pod %s: %v", v.pod, failed).ends()
	}
	certificate := x.visits[0].certificate
	if certificate == nil {
		return found("the poolers speak no TLS, or are not asked to")
	}
	verified := "is for " + to.Host + " and the published ca.crt vouches for it"
	if to.CA == "" {
		verified = "could not be verified: no authority is published"
	}
	return found("the certificate %s, until %s", verified, certificate.NotAfter.UTC().Format(time.DateOnly))
}

// login says how the login with the published user went at every pooler.
func (x *examination) login(context.Context) finding {
	v, failed := x.firstError(func(v visit) error { return v.login })
	if failed == nil {
		return found("%d of %d poolers let the published user in", len(x.visits), len(x.poolers))
	}
	return fault("Wait some seconds, as a rotation may be under way. Then look at ConfigApplied, and whether the published Secret was changed by hand",
		"pod %s refuses the published user: %s", v.pod, spokenError(failed)).ends()
}

// query says how a query through every pooler went.
func (x *examination) query(context.Context) finding {
	v, failed := x.firstError(func(v visit) error { return v.query })
	switch {
	case failed == nil:
		return found("select 1 was answered through %d of %d poolers", len(x.visits), len(x.poolers))
	case errors.Is(failed, context.DeadlineExceeded):
		return fault("Look for long transactions, and for clients that wait: kubectl poolfleet top",
			"pod %s gave no server connection to select 1 within %s", v.pod, visitTime)
	}
	return fault("Look at the pooler's log: kubectl logs -n "+x.pool.Namespace+" "+v.pod, "select 1 through pod %s: %s", v.pod, spokenError(failed))
}

func (x *examination) firstError(of func(visit) error) (visit, error) {
	for _, v := range x.visits {
		if err := of(v); err != nil {
			return v, err
		}
	}
	return visit{}, nil
}

// visit connects to one pooler by port-forward, as an application would, and asks for
// select 1.
func (s *session) visit(ctx context.Context, to login, pod client.ObjectKey) visit {
	v := visit{pod: pod.Name}
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	port, closer, err := s.forward(ctx, podPort{pod: pod, port: contract.ClientPort})
	if err != nil {
		v.unreached = err
		return v
	}
	defer closer()
	v.pay(ctx, to, port)
	return v
}

// pay connects to a port of this machine that leads to the pooler.
func (v *visit) pay(ctx context.Context, to login, port uint16) {
	conn, err := connect(ctx, to, port)
	switch {
	case errors.Is(err, errHandshake):
		v.handshake = err
		return
	case err != nil:
		v.login = err
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if secure, ok := conn.Conn().(*tls.Conn); ok {
		v.certificate = secure.ConnectionState().PeerCertificates[0]
	}
	_, v.query = conn.Exec(ctx, "select 1").ReadAll()
}

// connect connects to a port of this machine as if it were the login's host.
func connect(ctx context.Context, to login, port uint16) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig("host=" + loopback + " port=1 user=nobody dbname=none sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, fmt.Errorf("reading the environment: %w", err)
	}
	config.Host, config.Port, config.User, config.Password, config.Database = loopback, port, to.User, to.Password, to.Database
	config.RuntimeParams = map[string]string{"application_name": "poolfleet-doctor"}
	config.SSLNegotiation, config.Fallbacks, config.TLSConfig = "postgres", nil, nil
	config.AfterNetConnect = func(ctx context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if secure, ok := conn.(*tls.Conn); ok {
			if err := secure.HandshakeContext(ctx); err != nil {
				return conn, fmt.Errorf("%w: %w", errHandshake, err)
			}
		}
		return conn, nil
	}
	if to.TLSMode != sslDisable {
		config.TLSConfig = verifying(to)
	}
	return pgconn.ConnectConfig(ctx, config)
}

// verifying checks the poolers' certificate as far as the login's mode says.
func verifying(to login) *tls.Config {
	config := &tls.Config{ServerName: to.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // VerifyConnection checks.
	if to.CA == "" {
		return config
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(to.CA))
	config.VerifyConnection = func(state tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		if to.TLSMode == sslVerifyFull {
			options.DNSName = to.Host
		}
		for _, certificate := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		_, err := state.PeerCertificates[0].Verify(options)
		return err
	}
	return config
}

// spokenError is what the other side said, without the client's own words around it.
func spokenError(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return cmp.Or(refusal.Message, refusal.Code) + " (SQLSTATE " + refusal.Code + ")"
	}
	return err.Error()
}
