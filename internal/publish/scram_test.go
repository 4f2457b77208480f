// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// passwords that SASLprep changes, that it refuses, and that it leaves alone.
var passwords = []string{
	"plain", "with 'quotes' \"and\" \\", "ünïcödé", "a\u00a0b", "so\u00adft", "\ufb01ne", "\u2168", "x\u200by", "\u0627\u0031", "\ue000private",
	"SCRAM-SHA-256$4096:", strings.Repeat("long", 100),
}

func TestSecretsAreThoseOfPostgreSQL(t *testing.T) {
	server := testenv.Postgres(t, map[string]string{"password_encryption": "scram-sha-256"})
	conn := server.Superuser(t)
	for _, password := range passwords {
		if _, err := conn.Exec(t.Context(), "drop role if exists someone"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("create role someone password U&'%s'", escaped(password))); err != nil {
			t.Fatal(err)
		}
		var secret string
		if err := conn.QueryRow(t.Context(), "select rolpassword from pg_authid where rolname = 'someone'").Scan(&secret); err != nil {
			t.Fatal(err)
		}
		if !verifies(secret, password) {
			t.Errorf("PostgreSQL makes another secret of %q", password)
		}
		if verifies(secret, password+"x") {
			t.Errorf("the secret of %q is taken for another's", password)
		}
	}
}

func escaped(text string) string {
	var out strings.Builder
	for _, r := range text {
		fmt.Fprintf(&out, `\+%06x`, r)
	}
	return out.String()
}

// poolerFor runs PgBouncer in front of a server, with users by their secrets. One of
// them is the server's own: then PgBouncer knows two passwords for one name, the secret
// for clients and the plain one for the server.
func poolerFor(t *testing.T, users map[string]string) (pooler *testenv.PgBouncerServer, rendering pgbouncer.Rendering) {
	t.Helper()
	server := testenv.Postgres(t, nil)
	server.Exec(t, "create role shop login password 'of the server'", "create database shop owner shop")
	config := pgbouncer.Config{
		Server:    pgbouncer.Server{Host: "127.0.0.1", Port: server.Port, User: "shop", Password: "of the server", TLSMode: "disable"},
		Databases: []pgbouncer.Database{{Name: "shop", Database: "shop"}}, Mode: pgbouncer.ModeTransaction, MaxClientConnections: 10,
	}
	for name, password := range users {
		secret, err := scramSecret(password, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		config.Users = append(config.Users, pgbouncer.User{Name: name, Password: secret})
	}
	rendering = pgbouncer.Rendering{Config: config, Limits: pgbouncer.Limits{"shop": 2}}
	return testenv.PgBouncer(t, rendering), rendering
}

func loginAt(t *testing.T, pooler *testenv.PgBouncerServer, user, password string) (*pgx.Conn, error) {
	t.Helper()
	at, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d dbname=shop sslmode=disable", pooler.Port))
	if err != nil {
		t.Fatal(err)
	}
	at.User, at.Password = user, password
	conn, err := pgx.ConnectConfig(t.Context(), at)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "select 1")
	return conn, err
}

func TestPgBouncerLetsClientsInByTheirSecrets(t *testing.T) {
	users := map[string]string{"shop": "of the server", "app": "QUITE", "app-abcdefgh": "ünlike", `us"er, 'x' # all`: "odd"}
	pooler, _ := poolerFor(t, users)
	for name, password := range users {
		if _, err := loginAt(t, pooler, name, password); err != nil {
			t.Errorf("%s is not let in: %v\n%s", name, err, pooler.Log())
		}
		if _, err := loginAt(t, pooler, name, "wrong"); err == nil {
			t.Errorf("%s is let in with a wrong password", name)
		}
	}
}

func TestAClientStaysWhenItsCredentialEnds(t *testing.T) {
	pooler, rendering := poolerFor(t, map[string]string{"app": "OLD", "app-abcdefgh": "NEW"})
	conn, err := loginAt(t, pooler, "app", "OLD")
	if err != nil {
		t.Fatal(err)
	}
	rendering.Config.Users = slices.DeleteFunc(rendering.Config.Users, func(u pgbouncer.User) bool { return u.Name == "app" })
	pooler.Write(t, rendering)
	if err := pooler.Admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := loginAt(t, pooler, "app", "OLD"); err == nil {
		t.Error("the credential that ended lets new clients in")
	}
	if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
		t.Errorf("a client that was there is cut: %v", err)
	}
	if _, err := loginAt(t, pooler, "app-abcdefgh", "NEW"); err != nil {
		t.Errorf("the credential that stays does not work: %v", err)
	}
}

func TestASecretIsMadeOfThePasswordAndARandomSalt(t *testing.T) {
	first, err := scramSecret("secret", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := scramSecret("secret", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if first == second || !verifies(first, "secret") || !verifies(second, "secret") {
		t.Error("two secrets of one password are the same, or do not verify it")
	}
	// RFC 7677 has the exchange of these; its keys follow from it.
	salt := []byte{0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81}
	got, err := scramSecret("pencil", bytes.NewReader(salt))
	if want := "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestOnlySecretsAreTakenForSuch(t *testing.T) {
	for _, text := range []string{
		"", "plain", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:AAAA", "SCRAM-SHA-256$x:AAAA$B:C", "SCRAM-SHA-256$0:AAAA$B:C",
		"SCRAM-SHA-256$999999999:AAAA$B:C", "SCRAM-SHA-256$4096:!$B:C",
	} {
		if verifies(text, "plain") {
			t.Errorf("%q verifies", text)
		}
		if _, _, ok := scramParts(text); ok {
			t.Errorf("%q is taken for a secret", text)
		}
	}
}
