// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

func ms(values ...int) (intervals []time.Duration) {
	for _, value := range values {
		intervals = append(intervals, time.Duration(value)*time.Millisecond)
	}
	return intervals
}

func TestTheIntervalDoublesFromTheBaseToALimit(t *testing.T) {
	for _, c := range []struct {
		base, wait string
		have       int
		want       []time.Duration
	}{
		{"0.3", "", 1, ms(300, 600, 1200)},
		{"", "", 1, ms(200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000)},
		{"", "", 0, ms(200, 400, 800, 1600, 3200, 4000, 4000)},
		{"", "2", 1, ms(200, 400, 800, 1000, 1000)},
		{"", "0", 1, ms(200, 400, 800, 1600, 3200, 6400, 12800, 15000)},
		{"60", "", 1, ms(60000, 60000)},
	} {
		cfg := pgbouncer.Config{Parameters: map[string]string{"server_login_retry": c.base, "query_wait_timeout": c.wait}}
		r, got := retries{}, []time.Duration(nil)
		for i := range c.want {
			r.slower(int64(i+1), logins{count: c.have, newest: 7}, time.Now(), cfg)
			got = append(got, r.interval)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("base %q, clients wait for %q (-want +got):\n%s", c.base, c.wait, diff)
		}
		if r.slower(100, logins{count: c.have, newest: 8}, time.Now(), cfg); r.interval != c.want[0] {
			t.Errorf("base %q: after a login that succeeded the interval is %s, want %s", c.base, r.interval, c.want[0])
		}
	}
}

func TestWhenLoginsAreNoLongerHeldBack(t *testing.T) {
	now := time.Now()
	r := retries{interval: 8 * time.Second, had: logins{count: 3, newest: 7}, last: now}
	for name, c := range map[string]struct {
		have  logins
		after time.Duration
		want  bool
	}{
		"nothing has changed":                  {logins{3, 7}, 9 * time.Second, false},
		"a login has succeeded":                {logins{4, 8}, time.Second, true},
		"one has taken another's place":        {logins{3, 8}, time.Second, true},
		"one is gone":                          {logins{2, 7}, time.Second, true},
		"the server is gone":                   {logins{}, time.Second, true},
		"the next try was due and not refused": {logins{3, 7}, 11 * time.Second, true},
	} {
		if got := r.over(c.have, now.Add(c.after)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestOnlyRefusalsForWantOfRoomAreCounted(t *testing.T) {
	const at = "2026-11-22 09:27:27.809 UTC [10] "
	for line, want := range map[string]int64{
		`ERROR S: error while executing exec_on_query: FATAL: terminating connection due to administrator command`:                                            1,
		`WARNING server login failed: FATAL sorry, too many clients already`:                                                                                  1,
		`ERROR S: login failed: FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute`:                                        1,
		`WARNING server login failed: FATAL too many connections for role "app"`:                                                                              1,
		`WARNING server login failed: FATAL too many connections for database "shop"`:                                                                         1,
		`ERROR S: error while executing exec_on_query: ERROR: unrecognized configuration parameter "client_connection_check_interval"`:                        0,
		`WARNING server login failed: FATAL password authentication failed for user "app"`:                                                                    0,
		`WARNING server login failed: FATAL the database system is starting up`:                                                                               0,
		`WARNING C-0x55e3e3ba0ce8: shop/client@127.0.0.1:47814 pooler error: too many connections for database "shop"`:                                        0,
		`WARNING C-0x55e3e3ba0ce8: shop/client@127.0.0.1:47814 pooler error: server login failed: FATAL too many connections for`:                             0,
		`WARNING C-0x55e3e3ba0ce8: shop/client@127.0.0.1:47814 pooler error: no more connections allowed (max_client_conn)`:                                   0,
		`WARNING C-0x55e3e3ba0ce8: shop/client@127.0.0.1:47814 pooler error: server login has been failing, cached error: server conn crashed? (login_retry)`: 0,
	} {
		if _, r := relayed(nil, at+line); r.refusals() != want {
			t.Errorf("%s\ncounts %d, want %d", line, r.refusals(), want)
		}
	}
}

func TestAStormOfRefusalsIsOneLineAndASummary(t *testing.T) {
	line := `2026-11-22 09:27:27.809 UTC [10] ERROR S: error while executing exec_on_query: FATAL: terminating connection due to administrator command`
	var log bytes.Buffer
	r := &relay{log: slog.New(slog.NewJSONHandler(&log, nil))}
	for range 100 {
		r.line(line)
	}
	r.window = r.window.Add(-logWindow) // A window later:
	r.line("2026-11-22 09:27:37.809 UTC [10] LOG something else")
	if got := strings.Count(log.String(), `"msg":"S: error`); got != 1 || !strings.Contains(log.String(), `"count":99`) {
		t.Errorf("%d lines of 100 refusals, want 1 and a summary:\n%s", got, &log)
	}
}
