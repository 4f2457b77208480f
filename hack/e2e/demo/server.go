// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	_ "embed" // holds the manifests
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

//go:embed manifests/namespace.yaml
var namespaceManifest string

// startServer runs a PostgreSQL with its settings as they come, and waits for it.
func (d *demo) startServer(ctx context.Context) (string, error) {
	if err := d.tools.KubectlApply(ctx, namespaceManifest); err != nil {
		return "", err
	}
	d.server = install.Postgres{Namespace: namespace, Name: serverName, Image: d.images.Postgres.Reference}
	if err := d.server.Apply(ctx, d.client, d.tools); err != nil {
		return "", err
	}
	_, err := d.tools.Run(ctx, "", d.tools.Kubectl, "rollout", "status", "deployment/"+serverName,
		"--namespace", namespace, "--timeout", d.wait.String())
	if err != nil {
		return "", fmt.Errorf("waiting for PostgreSQL; `kubectl -n demo describe pods` says more: %w", err)
	}
	secret, err := d.upstreamURL(ctx)
	if err != nil {
		return "", err
	}
	return "role and database shop", d.createRole(ctx, secret)
}

// upstreamURL returns the URL in the Secret shop-db, and makes one with a password
// of its own for a new server.
func (d *demo) upstreamURL(ctx context.Context) (*url.URL, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: upstreamSecret},
		StringData: map[string]string{"DATABASE_URL": d.server.URL(poolName, rand.Text(), database)},
	}
	err := d.client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		err = d.client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping secret %s: %w", upstreamSecret, err)
	}
	parsed, err := url.Parse(string(secret.Data["DATABASE_URL"]))
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: its DATABASE_URL is malformed", upstreamSecret) // The parser's error quotes it.
	}
	return parsed, nil
}

// createRole makes the application's role and database: the superuser is not for
// applications, and takes the connections that the server keeps back.
func (d *demo) createRole(ctx context.Context, upstream *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	config, err := load.Config(d.server.AdminURL(), d.dialer.DialContext)
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	existing, err := conn.Exec(ctx, "select 1 from pg_database where datname = '"+database+"'").ReadAll()
	if err != nil {
		return fmt.Errorf("looking for database %s: %w", database, err)
	}
	if len(existing[0].Rows) > 0 {
		return nil
	}
	// The password consists of letters and digits.
	password, _ := upstream.User.Password()
	for _, statement := range []string{
		fmt.Sprintf("create role %s login password '%s'", poolName, password),
		fmt.Sprintf("create database %s owner %s", database, poolName),
	} {
		if _, err := conn.Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("creating role and database %s: %w", database, err)
		}
	}
	return nil
}
