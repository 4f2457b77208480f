// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestClientsAreNotSentTheNamesOfEveryPublicAuthority(t *testing.T) {
	certificate := testenv.NewCertificate(t, "127.0.0.1")
	for _, mode := range []string{"allow", "prefer", "require"} {
		t.Run(mode, func(t *testing.T) {
			cfg := aConfig(func(c *pgbouncer.Config) {
				c.ClientTLS = pgbouncer.ClientTLS{Mode: mode, Certificate: string(certificate.Certificate), Key: string(certificate.Key)}
			})
			limits, err := pgbouncer.Split(cfg.Databases, 5)
			if err != nil {
				t.Fatal(err)
			}
			at := testenv.PgBouncer(t, pgbouncer.Rendering{Config: cfg, Limits: limits})
			config, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=app sslmode=require", at.Port))
			if err != nil {
				t.Fatal(err)
			}
			names := -1
			config.TLSConfig.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				names = len(request.AcceptableCAs)
				return &tls.Certificate{}, nil
			}
			_, err = pgconn.ConnectConfig(t.Context(), config)
			if _, refused := errors.AsType[*pgconn.PgError](err); !refused {
				t.Errorf("somebody with neither a password nor a certificate meets no PgBouncer: %v", err)
			}
			if names < 0 || names > 1 {
				t.Errorf("PgBouncer sends %d names of authorities", names)
			}
		})
	}
}
