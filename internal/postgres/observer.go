// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/poolfleet/poolfleet/internal/budget"
)

// ApplicationName is what the operator calls itself in pg_stat_activity.
const ApplicationName = "poolfleet-probe"

const (
	connectTimeout = 5 * time.Second
	observeTimeout = 10 * time.Second
	// closeTimeout bounds the wait for the server to give the connection free.
	closeTimeout = time.Second
	// maxAnswer bounds one message of a server that may be anybody's.
	maxAnswer = 16 << 20
)

// Options of an Observer.
type Options struct {
	// AllowedCIDRs are the addresses it may connect to. Empty means all. They are
	// held against the address that is dialled, after the name was resolved.
	AllowedCIDRs []netip.Prefix
	// RootCAs are trusted by verify-ca and verify-full; nil means the system's.
	RootCAs *x509.CertPool
}

// Observer looks at servers, at each address one at a time.
type Observer struct {
	options Options
	blank   *pgconn.Config
	turns   turns
}

// NewObserver returns an Observer. It panics if the process's environment has PG...
// variables that can not be read; those that can have no effect.
func NewObserver(options Options) *Observer {
	return &Observer{options: options, blank: blank(), turns: turns{taken: map[string]*turn{}}}
}

// Observation is what one look at a server shows to the source's role.
type Observation struct {
	// Version is the setting server_version, and VersionNum server_version_num.
	Version    string `json:"version"`
	VersionNum int    `json:"versionNum"`

	// The settings max_connections, superuser_reserved_connections and, from
	// PostgreSQL 16 on, reserved_connections.
	MaxConnections    int32 `json:"maxConnections"`
	SuperuserReserved int32 `json:"superuserReserved"`
	Reserved          int32 `json:"reserved"`

	// RoleLimit and DatabaseLimit are the CONNECTION LIMITs of the role and the
	// database; nil is none. The server does not hold superusers to them.
	// Source: pg_roles.rolconnlimit, pg_database.datconnlimit.
	RoleLimit     *int32 `json:"roleLimit"`
	DatabaseLimit *int32 `json:"databaseLimit"`

	// RoleOID is the role's number at the server (pg_roles.oid). Connections are
	// counted by it: it is short, and a role that is dropped makes no query fail.
	RoleOID uint32 `json:"roleOID"`
	// Superuser is whether the role is one.
	Superuser bool `json:"superuser"`
	// CanReadAllStats is whether pg_stat_activity hides nothing from the role.
	CanReadAllStats bool `json:"canReadAllStats"`

	// SystemIdentifier names the data (pg_control_system); empty where the role may not read it.
	SystemIdentifier string `json:"-"`
	// StartTime names the process that has the connections (pg_postmaster_start_time).
	StartTime time.Time `json:"-"`
	// ServerAddress and ServerPort are the server's own (inet_server_addr, inet_server_port).
	ServerAddress string `json:"serverAddress"`
	ServerPort    uint16 `json:"serverPort"`
	// InRecovery is whether it is a standby (pg_is_in_recovery).
	InRecovery bool `json:"inRecovery"`

	// BackendPIDMatches is false where the process that greeted is not the one that
	// answered: then a pooler is in between.
	BackendPIDMatches bool `json:"-"`

	// Backends are the client connections but replication's, this look's own included.
	// To a role without pg_read_all_stats they are too many by other roles' parallel and
	// background workers. Nil where the role may not read pg_stat_activity.
	Backends []BackendCount `json:"-"`
	// InUse is the sum of Backends.
	InUse int32 `json:"-"`

	// AdmissionChecked is whether the look ran the count that every server connection
	// of a pool counts itself in with.
	AdmissionChecked bool `json:"-"`
	// AdmissionProblem says why that count can not hold the pools at this server: it
	// was refused, or it disagrees with the server's settings. Empty if it agrees.
	AdmissionProblem string `json:"-"`
}

// BackendCount is how many connections go by one database, role and application_name.
type BackendCount struct {
	Database    string `json:"database"`
	Role        string `json:"role"`
	Application string `json:"application"`
	Count       int32  `json:"count"`
}

// Observe connects to the source's server, asks once, and disconnects. It returns
// when the server has given the connection free, at most 11 seconds after its turn
// has come. Errors are *Error with a reason, but for the context's own end.
func (o *Observer) Observe(ctx context.Context, source Source) (Observation, error) {
	release, err := o.turns.take(ctx, source.Endpoint())
	if err != nil {
		return Observation{}, fmt.Errorf("waiting for another look at %s: %w", source.Endpoint(), err)
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	conn, err := o.connect(bounded, source)
	if err != nil {
		return Observation{}, orEnd(ctx, err)
	}
	defer leave(bounded, conn)
	observation, err := ask(bounded, conn)
	if err != nil {
		return Observation{}, orEnd(ctx, explainAnswer(source, err))
	}
	return observation, nil
}

// orEnd returns the context's own error if that is why the other came about: a
// manager that stops has learnt nothing about the server.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("looking at the server: %w", ctx.Err())
	}
	return err
}

// questions are asked in this order, and answered one row of one column each.
func questions() []string {
	return []string{factsQuery, backendsQuery, budget.AdmissionProbe(), identifierQuery}
}

// answer is what came back: a value, or why not.
type answer struct {
	value   []byte
	refusal *pgconn.PgError
}

// ask sends everything as one message. A refusal ends the message: what comes after
// it is sent anew. A CASE would not do, since PostgreSQL checks functions before it
// runs anything.
func ask(ctx context.Context, conn *pgconn.PgConn) (Observation, error) {
	queries := questions()
	answers := make([]answer, 0, len(queries))
	for len(answers) < len(queries) {
		results, err := conn.Exec(ctx, strings.Join(queries[len(answers):], ";")).ReadAll()
		if err == nil && len(results) != len(queries)-len(answers) {
			return Observation{}, errNoFacts
		}
		for _, result := range results {
			if result.Err == nil {
				answers = append(answers, answer{value: onlyValue(result)})
			}
		}
		if err == nil {
			break
		}
		refusal, refused := forbiddenThere(err)
		if !refused || len(answers) == 0 {
			return Observation{}, err
		}
		answers = append(answers, answer{refusal: refusal})
	}
	if answers[0].value == nil {
		return Observation{}, errNoFacts
	}
	return read(answers, conn.PID())
}

func onlyValue(result *pgconn.Result) []byte {
	if len(result.Rows) == 1 && len(result.Rows[0]) == 1 {
		return result.Rows[0][0]
	}
	return nil
}

var errNoFacts = errors.New("the server answered without the settings asked for")

// forbiddenThere reports whether the server refused a statement, in contrast to
// ending it (class 57) or the connection.
func forbiddenThere(err error) (*pgconn.PgError, bool) {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return refusal, ok && !strings.HasPrefix(refusal.Code, "57")
}

func read(answers []answer, pid uint32) (Observation, error) {
	var facts struct {
		Observation
		StartMicros int64  `json:"startMicros"`
		PID         uint32 `json:"pid"`
	}
	if err := json.Unmarshal(answers[0].value, &facts); err != nil {
		return Observation{}, fmt.Errorf("reading the server's settings: %w", err)
	}
	observation := facts.Observation
	observation.StartTime = time.UnixMicro(facts.StartMicros).UTC()
	observation.BackendPIDMatches = facts.PID == pid
	if counts := answers[1].value; counts != nil {
		if err := json.Unmarshal(counts, &observation.Backends); err != nil {
			return Observation{}, fmt.Errorf("reading the server's connections: %w", err)
		}
	}
	for _, group := range observation.Backends {
		observation.InUse += group.Count
	}
	observation.AdmissionChecked, observation.AdmissionProblem = true, admissionProblem(answers[2], observation)
	observation.SystemIdentifier = string(answers[3].value)
	return observation, nil
}

// leave ends the connection and waits until the server has, too: only then is
// its place free for the next.
func leave(ctx context.Context, conn *pgconn.PgConn) {
	raw, err := conn.Hijack()
	if err != nil { // It is closed or broken.
		_ = conn.Close(ctx)
		return
	}
	defer func() { _ = raw.Conn.Close() }()
	raw.Frontend.Send(&pgproto3.Terminate{})
	if errors.Join(raw.Conn.SetDeadline(time.Now().Add(closeTimeout)), raw.Frontend.Flush()) == nil {
		_, _ = io.Copy(io.Discard, raw.Conn)
	}
}
