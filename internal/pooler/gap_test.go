// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// slowLogins are connect queries that differ and do nothing but take their time, as
// that of admission may.
var slowLogins = []string{"select pg_sleep(0.2)", "select  pg_sleep(0.2)"}

func TestAChangedConnectQueryFailsNoQueryThoughLoginsAreInFlight(t *testing.T) {
	server := aServer(t, "second")
	p := aPod(t).start()
	cfg := aConfig(server, "second")
	cfg.ConnectQuery = slowLogins[0]
	p.grant(1, 4, p.config(cfg)) // 2 and 2
	p.runs(1, 4)
	clients := p.work(20, func(_ int, conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), "select pg_sleep(0.005)")
		time.Sleep(5 * time.Millisecond)
		return err
	}, "second", "shop")
	var last int64
	for i := range 20 {
		last = int64(i + 2)
		cfg.ConnectQuery = slowLogins[last%2]
		p.grant(last, 4, p.config(cfg))
		time.Sleep(time.Duration(300+20*i) * time.Millisecond) // Logins are at another point each time.
	}
	p.runs(last, 4)
	if rows, err := p.console().Show(t.Context(), "SERVERS"); err != nil || len(rows) > 4 {
		t.Errorf("%d server connections of 4, %v", len(rows), err)
	}
	clients.end(t)
	if got := p.starts(); got != 1 {
		t.Errorf("PgBouncer was started %d times", got)
	}
}

func TestAChangeThatFindsNoMomentWithoutLoginsIsMadeAllTheSame(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t).start()
	cfg := aConfig(server)
	cfg.ConnectQuery = "select pg_sleep(100)"
	cfg.Parameters = map[string]string{"server_connect_timeout": "100"}
	p.grant(1, 2, p.config(cfg))
	p.runs(1, 2)
	answer := make(chan error, 1)
	go func() {
		_, err := p.client("shop")
		answer <- err
	}()
	eventually(t, "a login is in flight", func() bool {
		pools, err := p.console().Pools(t.Context())
		return err == nil && len(pools) > 0 && pools[0].InLogin == 1
	})
	cfg.ConnectQuery = ""
	p.grant(2, 2, p.config(cfg))
	expectAnswer(t, answer)
	p.runs(2, 2)
	eventually(t, "logins are tried as before", func() bool { return p.loginRetry() == "1" })
}
