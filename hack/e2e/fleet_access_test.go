// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// shortLived has the poolers open new server connections all the time in a soak, so that
// none is left from before a change.
func (f *fleet) shortLived(t *testing.T, do func()) {
	t.Helper()
	if *fleetRounds == 1 {
		do()
		return
	}
	f.change(t, f.pool, func() {
		f.pool.Spec.Parameters = []poolv1.Parameter{{Name: "server_lifetime", Value: "10"}}
	})
	f.awaitApplied(t)
	do()
	f.change(t, f.pool, func() { f.pool.Spec.Parameters = nil })
	f.awaitApplied(t)
}

// passwordChanges changes the database's password, first there and then in the Secret.
func (f *fleet) passwordChanges(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() { f.shortLived(t, func() { f.passwordAtServerFirst(t) }) })
}

func (f *fleet) passwordAtServerFirst(t *testing.T) {
	t.Helper()
	password := f.secretWord()
	f.server.run(t, fmt.Sprintf("alter role shop password '%s'", password))
	gap()
	f.putPassword(t, password)
	f.awaitObserved(t)
	f.awaitApplied(t)
}

// passwordChangesInReverse puts the new password into the Secret before the database has it.
func (f *fleet) passwordChangesInReverse(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() { f.shortLived(t, func() { f.passwordInSecretFirst(t) }) })
}

func (f *fleet) passwordInSecretFirst(t *testing.T) {
	t.Helper()
	password := f.secretWord()
	f.putPassword(t, password)
	f.awaitCondition(t, f.pool, poolv1.ConditionUpstreamObserved, metav1.ConditionFalse, poolv1.ReasonAuthenticationFailed)
	gap()
	f.server.run(t, fmt.Sprintf("alter role shop password '%s'", password))
	f.awaitObserved(t)
	f.awaitApplied(t)
}

// gap is the time between the two halves of a change; in a soak it outlasts every server
// connection.
func gap() {
	if *fleetRounds == 1 {
		time.Sleep(5 * time.Second)
		return
	}
	time.Sleep(14 * time.Second)
}

// putPassword writes the upstream Secret as a person would.
func (f *fleet) putPassword(t *testing.T, password string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "shop-db"}}
	f.change(t, secret, func() {
		secret.Data["DATABASE_URL"] = []byte(f.server.URL("shop", password, "shop"))
	})
}

// awaitObserved waits until a look at the server with what the Secret holds now succeeded.
func (f *fleet) awaitObserved(t *testing.T) {
	t.Helper()
	f.awaitCondition(t, f.pool, poolv1.ConditionUpstreamObserved, metav1.ConditionTrue, poolv1.ReasonObserved)
}

// rotates has new credentials made. The clients go on with the old ones.
func (f *fleet) rotates(t *testing.T) {
	t.Helper()
	before := f.published(t, f.pool)
	f.inPlace(t, func() {
		f.change(t, f.pool, func() {
			metav1.SetMetaDataAnnotation(&f.pool.ObjectMeta, poolv1.RotateAnnotation, time.Now().String())
		})
		eventually(t, "new credentials are published", func() error {
			if now := f.published(t, f.pool); string(now.Data["password"]) == string(before.Data["password"]) {
				return errors.New("they are the old ones")
			}
			return nil
		})
	})
	for what, secret := range map[string]*corev1.Secret{"old": before, "new": f.published(t, f.pool)} {
		for range 6 { // Any of the poolers.
			if _, err := f.query(t.Context(), string(secret.Data["DATABASE_URL"]), "select 1"); err != nil {
				t.Errorf("with the %s credentials: %v", what, err)
			}
		}
	}
}

// certificates are the operator's own first, then those of a Secret, then others there.
func (f *fleet) certificates(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() {
		f.awaitCertificate(t, "")
		secret := f.tlsSecret(t)
		f.create(t, secret)
		f.change(t, f.pool, func() { f.pool.Spec.TLS.SecretRef.Name = secret.Name })
		first := f.awaitCertificate(t, "")
		renewed := f.tlsSecret(t)
		f.change(t, secret, func() { secret.Data = renewed.Data })
		f.awaitCertificate(t, first)
		f.change(t, f.pool, func() { f.pool.Spec.TLS = poolv1.ClientTLS{} })
		f.awaitApplied(t)
	})
}

// tlsSecret is a certificate of the pool that signed itself.
func (f *fleet) tlsSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	cert, key, err := install.SelfSigned("shop-pool." + f.namespace + ".svc")
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "shop-tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key, "ca.crt": cert},
	}
}

// awaitCertificate waits until every pooler shows a certificate that the published CA
// vouches for, and not the one of before. It returns what the certificate is known by.
func (f *fleet) awaitCertificate(t *testing.T, before string) string {
	t.Helper()
	var seen string
	eventually(t, "clients that verify it see the certificate", func() error {
		for range 6 { // Any of the poolers.
			serial, err := f.serial(t.Context(), f.published(t, f.pool), t.TempDir())
			if err == nil && serial == before {
				err = errors.New("the certificate is the one of before")
			}
			if err != nil {
				return err
			}
			seen = serial
		}
		return nil
	})
	return seen
}

// serial connects as a client that trusts the published CA alone.
func (f *fleet) serial(ctx context.Context, secret *corev1.Secret, dir string) (string, error) {
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, secret.Data["ca.crt"], 0o600); err != nil {
		return "", err
	}
	target, err := url.Parse(string(secret.Data["DATABASE_URL"]))
	if err != nil {
		return "", errors.New("the published URL is malformed")
	}
	target.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca}}.Encode()
	config, err := load.Config(target.String(), f.dialer.DialContext)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	secured, ok := conn.Conn().(*tls.Conn)
	if !ok {
		return "", errors.New("the connection is not secured")
	}
	return secured.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// pauses restarts the server while the pool is paused.
func (f *fleet) pauses(t *testing.T) {
	t.Helper()
	f.inPlace(t, func() {
		f.change(t, f.pool, func() { f.pool.Spec.State = poolv1.PoolPaused })
		f.awaitHeld(t, f.pool)
		eventually(t, "no connection of the pool is at the server", func() error { return f.idleServer(t) })
		if err := f.server.Restart(t.Context(), f.tools); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server answers", func() error {
			_, err := f.query(t.Context(), f.server.AdminURL(), "select 1")
			return err
		})
		f.change(t, f.pool, func() { f.pool.Spec.State = poolv1.PoolRunning })
		f.awaitReady(t, f.pool)
	})
}

// idleServer is an error while the pool's role has connections.
func (f *fleet) idleServer(t *testing.T) error {
	t.Helper()
	left, err := f.query(t.Context(), f.server.AdminURL(),
		"select count(*)::text from pg_stat_activity where usename = 'shop' and application_name <> 'poolfleet-probe'")
	if err == nil && left != "0" {
		err = fmt.Errorf("it has %s", left)
	}
	return err
}
