// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"strings"
)

// Admission is what every server connection checks before it is used.
type Admission struct {
	// Direct is how many connections are left to others: Budget.Direct. Below 0
	// counts as 0.
	Direct int32
}

// AdmissionQuery is the statement that PgBouncer runs on every new server
// connection (setting connect_query). It counts the server's client connections
// and, when they are more than max_connections less what is reserved, ends its own
// connection: an error would not do, PgBouncer logs it and goes on. The last Direct
// connections of the server are so never taken by a pool, whoever has the others.
//
// It needs no privilege and no object in the database. The limit is read from the
// server's settings each time. Of two connections that come at once at least one
// sees both, so too many may end, never too few.
//
// A plain role does not see what kind of backend another role's is
// (pg_stat_activity.backend_type is null), so all that have a database and a role
// count, but for walsenders, which PostgreSQL takes from max_wal_senders. What the
// role may see to be a parallel worker or another background process does not count.
//
// Then it sets how the server notices a client that is gone (ConnectionSettings).
// It has no line break, and dollar quotes in place of most others.
func AdmissionQuery(a Admission) string {
	// Counting comes first, and what follows can not fail, because an error would
	// let the connection in.
	body := []string{
		"perform pg_catalog.set_config('search_path', 'pg_catalog', true);",
		"select count(*) into taken from pg_stat_activity",
		"where datid is not null and usesysid is not null",
		"and coalesce(backend_type, 'client backend') = 'client backend'",
		"and pid not in (select pid from pg_stat_replication);",
		"if taken > current_setting('max_connections')::int",
		"- current_setting('superuser_reserved_connections')::int",
		// PostgreSQL 16 on.
		"- coalesce(current_setting('reserved_connections', true)::int, 0)",
		fmt.Sprintf("- %d", max(a.Direct, 0)),
		"then perform pg_terminate_backend(pg_backend_pid()); end if;",
	}
	for _, s := range connectionSettings {
		body = append(body, fmt.Sprintf("begin perform set_config('%s', '%s', false); exception when others then null; end;", s.name, s.value))
	}
	return "do $q$ declare taken bigint; begin " + strings.Join(body, " ") + " end $q$"
}

// connectionSettings let the server notice a client that is gone: within 0.1 s
// while a query runs, where the connection was closed; within 25 s where a network
// or a node was lost. All of them any role may set.
// Source: PostgreSQL documentation, "Connections and Authentication".
var connectionSettings = []struct{ name, value string }{
	{"client_connection_check_interval", "100ms"}, // PostgreSQL 14 on; not on every platform.
	{"tcp_keepalives_idle", "10s"},
	{"tcp_keepalives_interval", "5s"},
	{"tcp_keepalives_count", "3"},
	{"tcp_user_timeout", "25s"}, // idle + interval * count
}

// ResetQuery takes the place of DISCARD ALL in session mode (PgBouncer setting
// server_reset_query), because DISCARD ALL also forgets what AdmissionQuery has set.
// It is DISCARD ALL in the parts that PostgreSQL's documentation lists for it, and
// the settings again. DISCARD ALL itself can not stand in it: a string of several
// statements is one transaction.
//
// A client that runs RESET ALL or DISCARD ALL by itself still loses the settings
// for that server connection. The bound does not rest on them: a connection that
// nobody uses any more is counted until PostgreSQL has ended it.
func ResetQuery() string {
	parts := []string{
		"close all", "set session authorization default", "reset all", "deallocate all", "unlisten *",
		"select pg_catalog.pg_advisory_unlock_all()", "discard plans", "discard temp", "discard sequences",
	}
	var body []string
	for _, s := range connectionSettings {
		body = append(body, fmt.Sprintf("begin perform pg_catalog.set_config('%s', '%s', false); exception when others then null; end;", s.name, s.value))
	}
	return strings.Join(parts, "; ") + "; do $q$ begin " + strings.Join(body, " ") + " end $q$"
}
