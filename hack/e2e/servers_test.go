// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// server is a PostgreSQL server and its superuser's way to it.
type server struct {
	install.Postgres
	world *world
}

// startServer runs a PostgreSQL server and returns when it answers.
func (w *world) startServer(t *testing.T, postgres install.Postgres) *server {
	t.Helper()
	postgres.Image = w.chart.Images.Postgres.Reference
	if err := postgres.Apply(t.Context(), w.client, w.tools); err != nil {
		t.Fatal(err)
	}
	w.passwords.add(postgres.Password)
	s := &server{Postgres: postgres, world: w}
	eventually(t, "PostgreSQL answers", func() error {
		_, err := w.query(t.Context(), s.AdminURL(), "select 1")
		return err
	})
	return s
}

// role makes a role with a password that can be told in any log, and a database
// of its name, and returns its URL.
func (s *server) role(t *testing.T, name, options string) string {
	t.Helper()
	password := rand.Text()
	s.world.passwords.add(password)
	s.run(t, fmt.Sprintf("create role %s login password '%s' %s", name, password, options))
	s.run(t, fmt.Sprintf("create database %s owner %s", name, name))
	return s.URL(name, password, name)
}

// run runs one statement as the superuser.
func (s *server) run(t *testing.T, statement string) {
	t.Helper()
	if _, err := s.world.query(t.Context(), s.AdminURL(), statement); err != nil {
		t.Fatalf("running a statement at server %s: %v", s.Name, err)
	}
}

// query connects, runs one statement, and returns the first column of the first row.
func (w *world) query(ctx context.Context, url, statement string) (string, error) {
	return queryThrough(ctx, url, statement, w.dialer.DialContext)
}

func queryThrough(ctx context.Context, url, statement string, dial pgconn.DialFunc) (string, error) {
	config, err := load.Config(url, dial)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, statement).ReadAll()
	if err != nil {
		return "", fmt.Errorf("running a statement: %w", err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return "", nil
	}
	return string(results[0].Rows[0][0]), nil
}

// secretWord is a password that is known to nobody else.
func (w *world) secretWord() string {
	password := rand.Text()
	w.passwords.add(password)
	return password
}

// passwordOf returns the password in a URL.
func passwordOf(t *testing.T, text string) string {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil {
		t.Fatal("a URL is malformed")
	}
	password, _ := parsed.User.Password()
	return password
}
