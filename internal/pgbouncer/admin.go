// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// DefaultAdminTimeout bounds each command of the console.
const DefaultAdminTimeout = 5 * time.Second

// Admin speaks to PgBouncer's console over its unix socket. PgBouncer lets in
// whoever has its own uid, without a password, also when max_client_conn is
// reached, and since 1.25 also while it shuts down. Every command is a connection
// of its own. Its methods may be called from several goroutines.
type Admin struct {
	// SocketDir and Port name the socket, as in Paths.
	SocketDir string
	Port      uint16
	// Timeout bounds each command; 0 is DefaultAdminTimeout.
	Timeout time.Duration
	// Dial stands in for net.Dialer.DialContext; nil does not.
	Dial pgconn.DialFunc
}

// DatabaseState is a row of SHOW DATABASES.
type DatabaseState struct {
	Name string
	// PoolSize and MaxConnections are the limits in force.
	PoolSize, MaxConnections int32
	// CurrentConnections are its server connections, logins and cancels included.
	CurrentConnections int32
	// CurrentClientConnections are its client connections.
	CurrentClientConnections int32
	Paused                   bool
}

// PoolState is a row of SHOW POOLS: one for each database and user.
type PoolState struct {
	Database, User                                   string
	ClientsActive, ClientsWaiting                    int32
	ServersActive, ServersIdle, ServersUsed, InLogin int32
	// MaxWait is how long the first waiting client has waited.
	MaxWait time.Duration
}

// Sample is what PgBouncer has at one moment.
type Sample struct {
	Databases []DatabaseState
	Pools     []PoolState
	// Paused says that PauseAll is in force.
	Paused bool
}

// ServerState is a row of SHOW SERVERS.
type ServerState struct {
	// ID only grows: a later connection's is higher.
	ID       int64
	Database string
	// Active says that a client has it, Login that it can not be used yet.
	Active, Login bool
	// RemotePID is the backend's, 0 where PgBouncer does not know it.
	RemotePID int32
	// RequestTime is when a client was last given it or asked something of it, in whole seconds.
	RequestTime time.Time
}

// Version returns PgBouncer's version. It works whenever the console does.
func (a Admin) Version(ctx context.Context) (string, error) {
	rows, err := a.Show(ctx, "VERSION")
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		return row["version"], nil
	}
	return "", fmt.Errorf("asking PgBouncer: SHOW VERSION gave no row")
}

// Databases returns the databases, without the console.
func (a Admin) Databases(ctx context.Context) ([]DatabaseState, error) {
	rows, err := a.Show(ctx, "DATABASES")
	if err != nil {
		return nil, err
	}
	return databaseStates(rows)
}

// Pools returns the pools, without the console's.
func (a Admin) Pools(ctx context.Context) ([]PoolState, error) {
	rows, err := a.Show(ctx, "POOLS")
	if err != nil {
		return nil, err
	}
	return poolStates(rows)
}

// Sample returns databases and pools together, from one connection.
func (a Admin) Sample(ctx context.Context) (Sample, error) {
	results, err := a.run(ctx, "SHOW DATABASES", "SHOW POOLS", "SHOW STATE")
	if err != nil {
		return Sample{}, err
	}
	databases, err1 := databaseStates(results[0])
	pools, err2 := poolStates(results[1])
	return Sample{Databases: databases, Pools: pools, Paused: isPaused(results[2])}, errors.Join(err1, err2)
}

// Servers returns the server connections.
func (a Admin) Servers(ctx context.Context) ([]ServerState, error) {
	rows, err := a.Show(ctx, "SERVERS")
	if err != nil {
		return nil, err
	}
	return serverStates(rows)
}

func serverStates(rows []Row) (states []ServerState, err error) {
	for _, row := range rows {
		numbers := numbers{row: row, err: err}
		asked, _ := time.ParseInLocation("2006-01-02 15:04:05 MST", row["request_time"], time.Local) // Empty before the first.
		states = append(states, ServerState{
			ID: numbers.wide("id"), Database: row["database"],
			Active: row["state"] == "active", Login: row["state"] == "new",
			RemotePID: numbers.get("remote_pid"), RequestTime: asked,
		})
		err = numbers.err
	}
	return states, err
}

func databaseStates(rows []Row) (states []DatabaseState, err error) {
	for _, row := range rows {
		if row["name"] == consoleName {
			continue
		}
		numbers := numbers{row: row, err: err}
		states = append(states, DatabaseState{
			Name:     row["name"],
			PoolSize: numbers.get("pool_size"), MaxConnections: numbers.get("max_connections"),
			CurrentConnections:       numbers.get("current_connections"),
			CurrentClientConnections: numbers.get("current_client_connections"),
			Paused:                   row["paused"] == "1",
		})
		err = numbers.err
	}
	return states, err
}

func poolStates(rows []Row) (states []PoolState, err error) {
	for _, row := range rows {
		if row["database"] == consoleName {
			continue
		}
		numbers := numbers{row: row, err: err}
		states = append(states, PoolState{
			Database: row["database"], User: row["user"],
			ClientsActive: numbers.get("cl_active"), ClientsWaiting: numbers.get("cl_waiting"),
			ServersActive: numbers.get("sv_active"), ServersIdle: numbers.get("sv_idle"),
			ServersUsed: numbers.get("sv_used"), InLogin: numbers.get("sv_login"),
			MaxWait: time.Duration(numbers.get("maxwait"))*time.Second + time.Duration(numbers.get("maxwait_us"))*time.Microsecond,
		})
		err = numbers.err
	}
	return states, err
}

// Set changes a setting until PgBouncer reads its files again.
func (a Admin) Set(ctx context.Context, name, value string) error {
	return a.command(ctx, "SET "+name+" = '"+strings.ReplaceAll(value, "'", "''")+"'")
}

// Reload makes PgBouncer read its files again. It returns PgBouncer's own error
// when it refuses them (since 1.25).
func (a Admin) Reload(ctx context.Context) error { return a.command(ctx, "RELOAD") }

// Pause waits for the transactions of a database to end and holds its clients.
func (a Admin) Pause(ctx context.Context, database string) error {
	return a.command(ctx, "PAUSE "+identifier(database))
}

// EndReplication closes clients that replicate and returns how many there were.
// PgBouncer's hba takes logical replication for an ordinary client, and where the
// forced role has REPLICATION it would keep its server connection for good.
func (a Admin) EndReplication(ctx context.Context) (int, error) {
	servers, err := a.Show(ctx, "SERVERS") // As many as the limits allow; clients can be thousands.
	if err != nil || !slices.ContainsFunc(servers, Row.replicates) {
		return 0, err
	}
	clients, err := a.Show(ctx, "CLIENTS")
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, client := range clients {
		if !client.replicates() {
			continue
		}
		if err := a.command(ctx, "KILL_CLIENT "+client["id"]); err != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}

func (r Row) replicates() bool {
	return r["replication"] == "logical" || r["replication"] == "physical"
}

// Row is a row of the console, by column.
type Row map[string]string

// numbers reads a row and keeps the first error: a limit that can not be read must
// not pass for 0.
type numbers struct {
	row Row
	err error
}

func (n *numbers) get(column string) int32 {
	return int32(n.parse(column, 32)) //nolint:gosec // It was parsed as one of 32 bits.
}

func (n *numbers) wide(column string) int64 { return n.parse(column, 64) }

func (n *numbers) parse(column string, bits int) int64 {
	value, err := strconv.ParseInt(n.row[column], 10, bits)
	if err != nil && n.err == nil {
		n.err = fmt.Errorf("reading PgBouncer's console: column %s holds %q, not a number", column, n.row[column])
	}
	return value
}

// Show returns the rows of SHOW what.
func (a Admin) Show(ctx context.Context, what string) ([]Row, error) {
	results, err := a.run(ctx, "SHOW "+what)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

func (a Admin) command(ctx context.Context, command string) error {
	_, err := a.run(ctx, command)
	return err
}

// run runs commands on one connection and returns the rows of each.
func (a Admin) run(ctx context.Context, commands ...string) ([][]Row, error) {
	answers := make([][]Row, len(commands))
	err := a.session(ctx, func(exec executor) error {
		for i, command := range commands {
			rows, err := exec(command)
			if err != nil {
				return err
			}
			answers[i] = rows
		}
		return nil
	})
	return answers, err
}

// executor runs one command on a connection.
type executor func(command string) ([]Row, error)

// session opens a connection for as long as use takes.
func (a Admin) session(ctx context.Context, use func(executor) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout, DefaultAdminTimeout))
	defer cancel()
	conn, err := a.connect(ctx)
	if err != nil {
		return fmt.Errorf("connecting to PgBouncer's console: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	return use(func(command string) ([]Row, error) {
		results, err := conn.Exec(ctx, command).ReadAll()
		if err != nil {
			return nil, fmt.Errorf("running %s in PgBouncer's console: %w", command, err)
		}
		return rowsOf(results), nil
	})
}

func rowsOf(results []*pgconn.Result) (rows []Row) {
	for _, result := range results {
		for _, values := range result.Rows {
			row := Row{}
			for i, field := range result.FieldDescriptions {
				row[field.Name] = string(values[i])
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func (a Admin) connect(ctx context.Context) (*pgconn.PgConn, error) {
	// Every setting that the environment could bring is stated.
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host='%s' port=%d user=%s dbname=%s sslmode=disable target_session_attrs=any",
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(a.SocketDir), a.Port, consoleName, consoleName))
	if err != nil {
		return nil, err
	}
	cfg.Password = ""
	cfg.RuntimeParams = map[string]string{"application_name": "poolfleet"}
	if a.Dial != nil {
		cfg.DialFunc = a.Dial
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

func identifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
