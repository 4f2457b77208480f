// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// family is what one SHOW of PgBouncer's console is told as. Names, types, units and
// labels are those of prometheus-community's pgbouncer_exporter, so that dashboards
// made for it work. Of SHOW DATABASES the labels host, port and force_user are left
// out: they would tell of the server.
type family struct {
	labels  []string
	columns []column
}

// column is a metric; the value is the sum of its parts, each times its factor.
type column struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	parts []part
}

type part struct {
	name   string
	factor float64
}

var (
	databasesFamily = family{labels: []string{"name", "database", "pool_mode"}}.
			with("pgbouncer_databases_", prometheus.GaugeValue, 1, [][3]string{
			{"pool_size", "pool_size", "Most server connections of the database for one user."},
			{"reserve_pool_size", "reserve_pool", "Most server connections of the database beyond that."},
			{"max_connections", "max_connections", "Most server connections of the database."},
			{"current_connections", "current_connections", "Server connections of the database."},
			{"paused", "paused", "1 while the database is paused, else 0."},
			{"disabled", "disabled", "1 while the database takes no clients, else 0."},
		})
	poolsFamily = family{labels: []string{"database", "user"}}.
			with("pgbouncer_pools_", prometheus.GaugeValue, 1, [][3]string{
			{"cl_active", "client_active_connections", "Client connections that are served or idle."},
			{"cl_active_cancel_req", "client_active_cancel_connections", "Client connections whose cancel request was forwarded and not answered yet."},
			{"cl_waiting", "client_waiting_connections", "Client connections that wait for a server connection."},
			{"cl_waiting_cancel_req", "client_waiting_cancel_connections", "Client connections whose cancel request was not forwarded yet."},
			{"sv_active", "server_active_connections", "Server connections that a client has."},
			{"sv_active_cancel", "server_active_cancel_connections", "Server connections that forward a cancel request."},
			{"sv_being_canceled", "server_being_canceled_connections", "Server connections that wait for cancel requests to end."},
			{"sv_idle", "server_idle_connections", "Server connections that can be used at once."},
			{"sv_used", "server_used_connections", "Server connections that were idle for so long that they are checked before use."},
			{"sv_tested", "server_testing_connections", "Server connections that are checked or reset."},
			{"sv_login", "server_login_connections", "Server connections that log in."},
		}).waiting()
	totalsFamily = family{labels: []string{"database"}}.
			with("pgbouncer_stats_totals_", prometheus.CounterValue, 1, [][3]string{
			{"server_assignment_count", "server_assignments_total", "Times that a client was given a server connection."},
			{"xact_count", "sql_transactions_pooled_total", "Transactions."},
			{"query_count", "queries_pooled_total", "Queries."},
			{"bytes_received", "received_bytes_total", "Bytes received."},
			{"bytes_sent", "sent_bytes_total", "Bytes sent."},
			{"client_parse_count", "client_parses_total", "Prepared statements that clients sent."},
			{"server_parse_count", "server_parses_total", "Prepared statements that were sent to the server."},
			{"bind_count", "binds_total", "Executions of prepared statements."},
		}).
		with("pgbouncer_stats_totals_", prometheus.CounterValue, 1e-6, [][3]string{
			{"xact_time", "server_in_transaction_seconds_total", "Time that server connections were in transactions."},
			{"query_time", "queries_duration_seconds_total", "Time that server connections ran queries."},
			{"wait_time", "client_wait_seconds_total", "Time that clients waited for a server connection."},
		})
	listsFamily = family{}.with("pgbouncer_", prometheus.GaugeValue, 1, [][3]string{
		{"databases", "databases", "Databases."},
		{"users", "users", "Users."},
		{"pools", "pools", "Pools."},
		{"free_clients", "free_clients", "Client slots in memory that are free."},
		{"used_clients", "used_clients", "Client connections, those of the pooler itself included."},
		{"login_clients", "login_clients", "Client connections that log in."},
		{"free_servers", "free_servers", "Server slots in memory that are free."},
		{"used_servers", "used_servers", "Server connections."},
		{"dns_names", "cached_dns_names", "DNS names in the cache."},
		{"dns_zones", "cached_dns_zones", "DNS zones in the cache."},
		{"dns_queries", "in_flight_dns_queries", "DNS queries under way."},
	})
	configFamily = family{}.with("pgbouncer_config_", prometheus.GaugeValue, 1, [][3]string{
		{"max_client_conn", "max_client_connections", "Most client connections, the one of the pooler itself included."},
		{"max_user_connections", "max_user_connections", "Most server connections of a user; 0 is no limit."},
	})

	versionDesc = prometheus.NewDesc("pgbouncer_version_info", "1, with PgBouncer's version.", []string{"version"}, nil)
)

// with adds metrics: column of the console, name behind the prefix, help.
func (f family) with(prefix string, kind prometheus.ValueType, factor float64, columns [][3]string) family {
	for _, c := range columns {
		f.columns = append(f.columns, column{
			desc: prometheus.NewDesc(prefix+c[1], c[2], f.labels, nil), kind: kind, parts: []part{{c[0], factor}},
		})
	}
	return f
}

// waiting adds the time that PgBouncer tells in two columns.
func (f family) waiting() family {
	f.columns = append(f.columns, column{
		desc: prometheus.NewDesc("pgbouncer_pools_client_maxwait_seconds", "How long the first client that waits has waited.", f.labels, nil),
		kind: prometheus.GaugeValue, parts: []part{{"maxwait", 1}, {"maxwait_us", 1e-6}},
	})
	return f
}

func describePgBouncer(out chan<- *prometheus.Desc) {
	out <- versionDesc
	for _, f := range []family{databasesFamily, poolsFamily, totalsFamily, listsFamily, configFamily} {
		for _, c := range f.columns {
			out <- c.desc
		}
	}
}

func collectPgBouncer(figures pgbouncer.Figures, out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(versionDesc, prometheus.GaugeValue, 1, label(figures.Version))
	databasesFamily.collect(figures.Databases, out)
	poolsFamily.collect(figures.Pools, out)
	totalsFamily.collect(figures.Totals, out)
	listsFamily.collect([]pgbouncer.Row{figures.Lists}, out)
	configFamily.collect([]pgbouncer.Row{figures.Config}, out)
}

// collect leaves out a column that this PgBouncer does not have.
func (f family) collect(rows []pgbouncer.Row, out chan<- prometheus.Metric) {
	for _, row := range rows {
		labels := make([]string, len(f.labels))
		for i, name := range f.labels {
			labels[i] = label(row[name])
		}
		for _, c := range f.columns {
			if value, there := c.value(row); there {
				out <- prometheus.MustNewConstMetric(c.desc, c.kind, value, labels...)
			}
		}
	}
}

func (c column) value(row pgbouncer.Row) (sum float64, there bool) {
	for _, p := range c.parts {
		value, err := strconv.ParseFloat(row[p.name], 64)
		if err != nil {
			return 0, false
		}
		sum += value * p.factor
	}
	return sum, true
}

// label makes a name of any encoding one that Prometheus takes.
func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
