// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ignoredStartupParameters are what drivers and frameworks append to a URL or send
// at login, and what PgBouncer would refuse a client for; some JavaScript drivers send
// whatever stands in the URL. "options" must be among them: a list without it lets a
// client hang PgBouncer (CVE-2026-107349). Of the options PgBouncer follows those that
// it keeps track of, such as TimeZone, and drops the rest.
var ignoredStartupParameters = []string{
	// Of the server. What is dropped here is set for the role (ALTER ROLE ... SET).
	"extra_float_digits", "idle_in_transaction_session_timeout", "jit", "lock_timeout", "options", "search_path", "statement_timeout",
	// Of libpq and drivers.
	"channel_binding", "connect_timeout", "default_query_exec_mode", "gssencmode", "prepare", "sslcert", "sslkey", "sslmode",
	"sslnegotiation", "sslpassword", "sslrootcert", "statement_cache_size", "target_session_attrs", "uselibpqcompat",
	// Of Prisma, and of those who host databases.
	"connection_limit", "max_connection_lifetime", "max_idle_connection_lifetime", "pgbouncer", "pool_timeout", "schema",
	"single_use_connections", "socket_timeout", "sslaccept", "sslidentity", "supa",
}

// settings are the lines of [pgbouncer]: ours, then the pool's parameters, which
// Validate keeps away from ours that matter.
func (r Rendering) settings() map[string]string {
	cfg := r.Config
	settings := map[string]string{
		"auth_file":       r.Paths.Userlist(),
		"auth_hba_file":   r.Paths.HBA(),
		"listen_addr":     cmp.Or(r.Paths.ListenAddress, "*"),
		"listen_port":     strconv.Itoa(int(r.Paths.Port())),
		"max_client_conn": strconv.Itoa(int(cfg.MaxClientConnections) + sentries),
		"pool_mode":       string(cfg.Mode),
		"unix_socket_dir": r.Paths.RunDir,

		"client_idle_timeout": cmp.Or(r.ClientIdleTimeout, strconv.Itoa(int(cfg.ClientIdleTimeoutSeconds))),
		"client_tls_sslmode":  cmp.Or(cfg.ClientTLS.Mode, "disable"),
		"server_tls_sslmode":  cfg.Server.TLSMode,
	}
	maps.Copy(settings, constants)
	if verifies(cfg.Server.TLSMode) && cfg.Server.CA == "" {
		settings["server_tls_ca_file"] = cmp.Or(r.Paths.CAFile, "/etc/ssl/certs/ca-certificates.crt")
	}
	if cfg.Lookup.User != "" {
		settings["auth_user"], settings["auth_query"] = cfg.Lookup.User, cfg.Lookup.Query
	}
	maps.Copy(settings, cfg.Parameters)
	if r.Peers.ID != 0 {
		settings["peer_id"] = strconv.Itoa(int(r.Peers.ID))
	}
	if cfg.Paused {
		// Clients wait for as long as the pause lasts, also those that log in to a
		// PgBouncer that has not seen the server yet.
		settings["query_wait_timeout"], settings["client_login_timeout"] = "0", "0"
	}
	settings["ignore_startup_parameters"] = ignored(cfg.Parameters["ignore_startup_parameters"])
	return settings
}

func ignored(more string) string {
	list := slices.Clone(ignoredStartupParameters)
	for name := range strings.SplitSeq(more, ",") {
		if name = strings.TrimSpace(name); name != "" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

// constants are the same for every pool.
var constants = map[string]string{
	// The console is for our own uid alone.
	"admin_users":      "",
	"stats_users":      "",
	"unix_socket_mode": "0700",
	"auth_type":        "hba",

	// Limits of a database entry that was forgotten; each entry states its own.
	"default_pool_size":  "1",
	"max_db_connections": "1",
	"min_pool_size":      "0",
	"reserve_pool_size":  "0",

	// Both would close connections whose queries go on at the server.
	"query_timeout":       "0",
	"transaction_timeout": "0",

	// Server connections. A pool that finds no room tries again after a second and
	// then ever more seldom (package pooler), as each try costs the server a process.
	// A serverless server that wakes up needs some seconds; one that sleeps must not
	// be kept awake by us.
	"server_connect_timeout": "15",
	"server_idle_timeout":    "60",
	LifetimeSetting:          "3600",
	LoginRetrySetting:        "1",

	// After a failover the server's name leads elsewhere, or nowhere for a moment.
	// PgBouncer asks only when it opens a connection, and never more often than this.
	"dns_max_ttl":      "5",
	"dns_nxdomain_ttl": "2",

	// A client gets an answer, if a bad one, before most clients give up.
	"query_wait_timeout":      "30",
	"max_prepared_statements": "200",

	// A peer that is gone is noticed within a minute.
	"tcp_keepalive":    "1",
	"tcp_keepcnt":      "3",
	"tcp_keepidle":     "30",
	"tcp_keepintvl":    "10",
	"tcp_user_timeout": "30000", // Milliseconds.

	// Listening. Workers connect in bursts.
	"listen_backlog": "1024",
	"pidfile":        "", // A stale one would keep PgBouncer from starting.
	"so_reuseport":   "0",

	// Logs go to standard error. Edge workers connect for each request, so a line
	// for each connection would be a flood.
	"log_connections":    "0",
	"log_disconnections": "0",
	"log_pooler_errors":  "1",
	"log_stats":          "0",
	"logfile":            "",
	"syslog":             "0",
	"verbose":            "0",
}
