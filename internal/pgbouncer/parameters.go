// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// InvalidParameterError says why a parameter of a pool is refused and what to do instead.
type InvalidParameterError struct {
	Name   string
	Reason string
}

func (e *InvalidParameterError) Error() string {
	return fmt.Sprintf("parameter %s %s", e.Name, e.Reason)
}

// A check says in words that continue "must be" what it wants, or nothing.
type check func(value string) (want string)

// allowed are the settings a pool may change: PgBouncer takes each by RELOAD, and
// none makes a server connection outlive its count or adds one. Each name is
// PgBouncer's own setting.
var allowed = map[string]check{
	"application_name_add_host": boolean,
	"cancel_wait_timeout":       seconds(0, 3600),
	"client_login_timeout":      seconds(1, 3600),
	"dns_max_ttl":               seconds(0, 86400),
	"dns_nxdomain_ttl":          seconds(0, 86400),
	"idle_transaction_timeout":  seconds(0, 86400),
	"ignore_startup_parameters": names,
	"log_connections":           boolean,
	"log_disconnections":        boolean,
	"log_pooler_errors":         boolean,
	"log_stats":                 boolean,
	"max_packet_size":           integer(1024, 1<<31-1),
	"max_prepared_statements":   integer(0, 100000),
	"query_timeout":             seconds(0, 0), // A limit that closes a running query's connection frees a slot here, not there.
	"query_wait_notify":         integer(0, 86400),
	"query_wait_timeout":        seconds(0, 86400),
	"scram_iterations":          integer(1024, 1000000),
	"server_check_delay":        seconds(0, 86400),
	"server_connect_timeout":    seconds(1, 3600),
	"server_fast_close":         boolean,
	"server_idle_timeout":       seconds(0, 86400),
	LifetimeSetting:             seconds(10, 604800), // 0 would log in anew for every transaction.
	"server_login_retry":        seconds(0.2, 60),
	"server_reset_query":        line,
	"server_reset_query_always": boolean,
	"server_round_robin":        boolean,
	"stats_period":              integer(1, 86400),
	"tcp_keepalive":             boolean,
	"tcp_keepcnt":               integer(0, 127),
	"tcp_keepidle":              integer(0, 32767),
	"tcp_keepintvl":             integer(0, 32767),
	"tcp_socket_buffer":         integer(0, 1<<30),
	"tcp_user_timeout":          integer(0, 1<<31-1),
	"transaction_timeout":       seconds(0, 0), // As query_timeout.
}

// advice says, for parameters that people may look for, where to turn instead.
var advice = map[string]string{
	"client_idle_timeout":    "is set by the operator: use spec.clients.idleTimeoutSeconds",
	"client_tls_sslmode":     "is set by the operator: use spec.tls.mode",
	"connect_query":          "is set by the operator: it is what holds the server's connection limit",
	"default_pool_size":      "is set by the operator: use spec.serverConnections",
	"disable_pqexec":         "is refused: PgBouncer takes it only when it starts, and pools are changed without a restart",
	"listen_addr":            "is set by the operator: use spec.service",
	"listen_port":            "is set by the operator: use spec.service",
	"max_client_conn":        "is set by the operator: use spec.clients.maxConnections",
	"max_db_connections":     "is set by the operator: use spec.serverConnections",
	"max_user_connections":   "is set by the operator: use spec.serverConnections",
	"min_pool_size":          "is set by the operator: idle connections are lent to pools that need them",
	"pool_mode":              "is set by the operator: use spec.mode",
	"pool_size":              "is set by the operator: use spec.serverConnections",
	"query_timeout":          "must be 0: it would close connections whose queries go on at the server; set statement_timeout for the role (ALTER ROLE ... SET statement_timeout)",
	"reserve_pool_size":      "is set by the operator: a reserve would be opened beyond the limit; use spec.serverConnections",
	"reserve_pool_timeout":   "is set by the operator: there is no reserve pool",
	"server_check_query":     "is set by the operator: PgBouncer's own check is used",
	"server_tls_sslmode":     "is set by the operator: use spec.upstream.tls, or sslmode in the upstream Secret's URL",
	"track_extra_parameters": "is refused: PgBouncer takes it only when it starts; it follows every parameter that the server reports",
	"transaction_timeout":    "must be 0: it would close connections whose queries go on at the server; set transaction_timeout for the role (PostgreSQL 17)",
}

// guarded are the beginnings of settings that the operator owns.
var guarded = []string{"admin_", "auth_", "client_tls_", "dns_", "listen_", "max_", "peer", "pidfile", "resolv_", "server_tls_", "so_", "stats_users", "syslog", "unix_socket_", "user"}

// AllowedParameters are the names of the settings that a pool may change, sorted.
func AllowedParameters() []string { return slices.Sorted(maps.Keys(allowed)) }

func validateParameters(parameters map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if reason := refuse(name, parameters[name]); reason != "" {
			errs = append(errs, &InvalidParameterError{Name: name, Reason: reason})
		}
	}
	return errors.Join(errs...)
}

func refuse(name, value string) (reason string) {
	accepts, known := allowed[name]
	if known {
		want := accepts(value)
		if want == "" {
			return ""
		}
		if reason := advice[name]; reason != "" {
			return reason
		}
		return fmt.Sprintf("must be %s, not %q", want, value)
	}
	if reason := advice[name]; reason != "" {
		return reason
	}
	for _, prefix := range guarded {
		if strings.HasPrefix(name, prefix) {
			return "is set by the operator; parameters that you can set are " + strings.Join(AllowedParameters(), ", ")
		}
	}
	return "is not one of those that you can set: " + strings.Join(AllowedParameters(), ", ")
}

func boolean(value string) string {
	if value == "0" || value == "1" {
		return ""
	}
	return "0 or 1"
}

func integer(lowest, highest int64) check {
	return func(value string) string {
		n, err := strconv.ParseInt(value, 10, 64)
		if err == nil && n >= lowest && n <= highest && plainNumber.MatchString(value) {
			return ""
		}
		return fmt.Sprintf("a whole number from %d to %d", lowest, highest)
	}
}

// plainNumber is what PgBouncer reads the same way as we do: no sign, no exponent.
var plainNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

func seconds(lowest, highest float64) check {
	return func(value string) string {
		n, err := strconv.ParseFloat(value, 64)
		if err == nil && n >= lowest && n <= highest && plainNumber.MatchString(value) {
			return ""
		}
		return fmt.Sprintf("a number of seconds from %v to %v, without a unit", lowest, highest)
	}
}

var nameList = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*( *, *[A-Za-z_][A-Za-z0-9_.]*)*$`)

func names(value string) string {
	if nameList.MatchString(value) {
		return ""
	}
	return "names of startup parameters, separated by commas"
}

func line(value string) string {
	if strings.TrimSpace(value) == "" || validateText("", value, 1, maxQuery) != nil {
		return fmt.Sprintf("one line of SQL of at most %d bytes", maxQuery)
	}
	return ""
}
