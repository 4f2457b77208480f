// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"slices"
	"strings"
)

// MaxQueryBytes is the longest query that PgBouncer itself can send: it puts the
// message together in 512 bytes, and a longer one is never sent, so that the server
// connection is never used and clients wait in vain. It holds for connect_query and
// server_reset_query. Source: PgBouncer include/pktbuf.h, SEND_generic.
const MaxQueryBytes = 512 - len("Q") - 4 /* length */ - 1 /* end of string */

// Admission is what every server connection checks before it is used.
type Admission struct {
	// Withheld is how many connections pools never take: Budget.Withheld. Below 0
	// counts as 0.
	Withheld int32
	// Ceiling is the most connections of Roles, beside what Withheld leaves:
	// UpstreamSpec.MaxServerConnections. 0 is none.
	Ceiling int32
	// Roles are the roles of all pools at the server, by pg_roles.oid. Empty means
	// that they are not known. A role that is gone does no harm.
	Roles []uint32
}

// AdmissionQuery is what PgBouncer runs on every new server connection (setting
// connect_query). It counts the server's client connections and, when they are
// more than max_connections less what is withheld, ends its own connection: an
// error would not do, PgBouncer logs it and goes on. What is left to others is so
// never taken by a pool, whoever has the rest. With a Ceiling it does the same when
// the pools' roles have more connections than that.
//
// A connection that is one or two too many waits a moment for others to go: a
// backend outlives its client for a tenth of a second, and a person's visit may be
// as short. It would be costly to end at once, for PgBouncer turns clients away
// while its last login failed and it has no other connection. More than two never
// wait, so those that do take no more of what is left to others.
//
// It needs no privilege and no object in the database. max_connections is read from
// the server each time. Of two connections that come at once at least one sees
// both, so too many may end, never too few.
//
// A plain role does not see what kind of backend another role's is, so all that
// have a database and a role count, but for walsenders, which PostgreSQL takes from
// max_wal_senders, and for parallel workers where the role may see that they are
// (leader_pid: its own). Where there is a Ceiling there is no room to leave logical
// walsenders out.
//
// Then it sets how the server notices a client that is gone. PostgreSQL 13 does not
// know one of these settings and refuses them all; the connection, which has been
// counted by then, is used without.
//
// It is one line of at most MaxQueryBytes, which is why it is so terse. Roles that
// do not fit, or are not known, make it count all that are as new as the oldest of
// them: too many, never too few. The same roles in any order give the same text; a
// role more or less changes it, and PgBouncer then replaces its server connections,
// each when it is next free.
func AdmissionQuery(a Admission) string {
	over := fmt.Sprintf("count(usesysid)+%d-int4(%s)", max(a.Withheld, 0), maxConnections)
	if a.Ceiling <= 0 {
		return admissionQuery(over, fromConnections)
	}
	roles := slices.Compact(slices.Sorted(slices.Values(a.Roles)))
	either := func(condition string) string {
		return admissionQuery(fmt.Sprintf("greatest(%s,count(%sor null)-%d)", over, condition, a.Ceiling), fromBackends)
	}
	if query := either(isOneOf(roles)); len(roles) > 0 && len(query) <= MaxQueryBytes {
		return query
	}
	oldest := append(roles, 0)[0]
	return either(fmt.Sprintf("usesysid>=%d ", oldest))
}

// admissionQuery ends the connection when there are too many by more than two, or
// still by one or two after 0.6 s.
func admissionQuery(over, from string) string {
	return "do $$declare c int;begin for i in 1..6 loop c=(select " + over + from + ");exit when c<1 or c>2;" +
		"perform pg_sleep(.1),pg_stat_clear_snapshot();end loop;" +
		"if c>0 then perform pg_terminate_backend(pg_backend_pid());end if;end$$;" + setKeepalives + ";" + setCheckInterval
}

func isOneOf(roles []uint32) string {
	var list []string
	for _, role := range roles {
		list = append(list, fmt.Sprint(role))
	}
	return "usesysid in(" + strings.Join(list, ",") + ")"
}

// AdmissionProbe asks for what AdmissionQuery decides by, and ends nothing: one row
// with a JSON array of the connections counted, max_connections, and whether the
// role may end its own connection and run a block of code that does.
func AdmissionProbe() string {
	return "select json_build_array(count(usesysid),int4(" + maxConnections +
		"),has_function_privilege('pg_catalog.pg_terminate_backend'::regproc,'execute')," +
		"has_language_privilege('plpgsql','usage'))" + fromConnections
}

const (
	// fromBackends and fromConnections read what the views pg_stat_activity and
	// pg_stat_replication read: on a fresh connection, whose caches are empty, the views
	// take twice as long.
	fromBackends    = "from pg_stat_get_activity(null)where datid>0 and leader_pid is null"
	fromConnections = fromBackends + " and pid not in(select(pg_stat_get_wal_senders()).pid)"

	maxConnections = "current_setting('max_connections')"

	// setKeepalives lets the server notice within a minute and a half that a network or
	// a node was lost, and within half a minute while it sends. With a user timeout the
	// number of keepalives does not matter. Any role may set it. Source: PostgreSQL
	// settings tcp_*; tcp(7).
	setKeepalives = "set tcp_keepalives_idle=9;set tcp_user_timeout=25000"

	// setCheckInterval lets the server notice within 0.1 s, while a query runs, that
	// the connection was closed. Any role may set it. Source: PostgreSQL setting
	// client_connection_check_interval, from 14 on.
	setCheckInterval = "set client_connection_check_interval=100"
)

// ResetQuery takes the place of DISCARD ALL in session mode (PgBouncer setting
// server_reset_query), because DISCARD ALL also forgets what AdmissionQuery has
// set. It is DISCARD ALL in the parts that PostgreSQL's documentation lists for it,
// and the settings again. DISCARD ALL itself can not stand in it: a string of
// several statements is one transaction.
//
// A client that runs RESET ALL or DISCARD ALL by itself still loses the settings
// for that server connection, in every mode. The bound does not rest on them: a
// connection that nobody uses any more counts until PostgreSQL has ended it.
func ResetQuery() string {
	return strings.Join([]string{
		"close all", "set session authorization default", "reset all", "deallocate all", "unlisten *",
		"select pg_advisory_unlock_all()", "discard plans", "discard temp", "discard sequences", setKeepalives,
		"do $$begin " + setCheckInterval + ";exception when others then end$$", // An error here would cost the connection.
	}, ";")
}
