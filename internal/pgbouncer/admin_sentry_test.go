// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer_test

import (
	"testing"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestASentryPausesWhereNoServerConnectionIs(t *testing.T) {
	server := testenv.PgBouncer(t, goldenCases(t)["minimal"].rendering(t))
	var sentry pgbouncer.Sentry
	inForce := func() bool {
		sample, err := server.Admin.Sample(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return sample.Paused
	}
	if err := sentry.Stand(t.Context(), server.Admin); err != nil || inForce() {
		t.Fatalf("PgBouncer is paused by one that stands there: %v", err)
	}
	for range 2 { // The session is used up by the first.
		servers, paused, err := sentry.PauseUnlessConnected(t.Context(), server.Admin)
		if err != nil || len(servers) > 0 || !paused || !inForce() {
			t.Errorf("servers %v, said to be paused %t, is %t: %v", servers, paused, inForce(), err)
		}
		if err := server.Admin.ResumeAll(t.Context()); err != nil || inForce() {
			t.Errorf("PgBouncer is still paused: %v", err)
		}
	}
	sentry.Leave(t.Context())
	sentry.Leave(t.Context()) // Of which there is nothing left to do.
}

func TestASentryWithoutAConsoleIsAnError(t *testing.T) {
	var sentry pgbouncer.Sentry
	if _, paused, err := sentry.PauseUnlessConnected(t.Context(), pgbouncer.Admin{SocketDir: t.TempDir(), Port: 5432}); err == nil || paused {
		t.Errorf("it said %t and %v", paused, err)
	}
}

func TestASentryLeavesAConnectedPgBouncerAlone(t *testing.T) {
	server := testenv.Postgres(t, nil)
	server.Exec(t, "create role u login password 'hush-hush'", "create database a owner u")
	at := testenv.PgBouncer(t, pgbouncer.Rendering{Limits: pgbouncer.Limits{"a": 2}, Config: aConfig(func(c *pgbouncer.Config) {
		c.Server.Host, c.Server.Port, c.Server.TLSMode = server.Host, server.Port, "disable"
	})})
	if _, err := ask(t, at, nil, "select 1"); err != nil {
		t.Fatal(err)
	}
	var sentry pgbouncer.Sentry
	defer sentry.Leave(t.Context())
	for range 2 {
		servers, paused, err := sentry.PauseUnlessConnected(t.Context(), at.Admin)
		if err != nil || paused || len(servers) != 1 {
			t.Errorf("servers %v, paused %t: %v", servers, paused, err)
		}
	}
}
