// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"

	"k8s.io/apimachinery/pkg/api/meta"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/status"
)

// documentOf is the configuration of the pool's poolers. Roles are those of the pools
// at the server, as far as they are known.
func documentOf(p *pass, own ownSecrets) (contract.Document, error) {
	config := pgbouncer.Config{
		Server:                   serverOf(p, own.document.PgBouncer.Server),
		Databases:                databasesOf(p),
		Mode:                     modeOf(p.pool.Spec.Mode),
		Users:                    usersOf(p, own),
		ClientTLS:                p.clientTLS,
		Paused:                   p.pool.Spec.State == poolv1.PoolPaused,
		MaxClientConnections:     cmp.Or(p.pool.Spec.Clients.MaxConnections, defaultMaxClients),
		ClientIdleTimeoutSeconds: valueOr(p.pool.Spec.Clients.IdleTimeoutSeconds, 0),
		Parameters:               parametersOf(p.pool),
	}
	admit(p, own, &config)
	if err := lookUp(p, own.document.PgBouncer.Lookup, &config); err != nil {
		return contract.Document{}, err
	}
	if err := pgbouncer.Validate(config); err != nil {
		return contract.Document{}, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonRejected, "%s", err.Error())
	}
	return contract.Document{
		Version: contract.DocumentVersion, StatusKey: own.statusKey, PgBouncer: config,
		DrainTimeoutSeconds: new(manifests.DrainSeconds(p.pool.Spec.Rollout)),
	}, nil
}

// serverOf is the server as the poolers reach it. Before a good look it is the one
// that they were told of last.
func serverOf(p *pass, inForce pgbouncer.Server) pgbouncer.Server {
	return pgbouncer.Server{
		Host: p.source.Host, Port: p.source.Port,
		User: p.source.User, Password: p.source.Password, TLSMode: p.source.TLSMode,
		CA: p.source.CA, Certificate: p.source.Certificate, Key: p.source.Key,
		Incarnation: p.record.Behind.name(inForce.Incarnation),
	}
}

// usersOf are the users that clients may log in as.
func usersOf(p *pass, own ownSecrets) []pgbouncer.User {
	if lookedUp(p.pool) {
		return nil
	}
	var users []pgbouncer.User
	for _, c := range own.keyring.Accepted() {
		users = append(users, userOf(c))
	}
	return users
}

// admit has every server connection count itself in, where the server shows it the others.
func admit(p *pass, own ownSecrets, config *pgbouncer.Config) {
	if p.record.Pooled || p.upstream.Status.Capacity.Withheld == nil {
		return
	}
	config.ConnectQuery = connectQuery(p.upstream, own.document.PgBouncer.ConnectQuery)
	// DISCARD ALL, which PgBouncer runs between clients in session mode, would undo a
	// part of the connect query.
	if _, chosen := config.Parameters[resetQuery]; config.Mode == pgbouncer.ModeSession && !chosen {
		config.Parameters[resetQuery] = budget.ResetQuery()
	}
}

// connectQuery is what a server connection runs before it is used. Where the budget
// fell, the query in force stays until pods have let go: a stricter one would turn
// back connections that the ledger still allows.
func connectQuery(upstream *poolv1.Upstream, inForce string) string {
	within := meta.FindStatusCondition(upstream.Status.Conditions, poolv1.ConditionWithinBudget)
	behind := within == nil || within.ObservedGeneration < upstream.Generation
	if inForce != "" && (behind || within.Reason == poolv1.ReasonOverBudget) {
		return inForce
	}
	return budget.AdmissionQuery(admissionOf(upstream))
}

// admissionOf is what a server connection of a pool checks. The roles stand in the
// account, so that a manager that has just started knows them all. Where one is not
// known, every role counts.
func admissionOf(upstream *poolv1.Upstream) budget.Admission {
	admission := budget.Admission{Withheld: *upstream.Status.Capacity.Withheld, Ceiling: upstream.Spec.MaxServerConnections}
	for _, line := range upstream.Status.Pools {
		if line.RoleOID == 0 {
			admission.Roles = nil
			break
		}
		admission.Roles = append(admission.Roles, uint32(line.RoleOID)) //nolint:gosec // By the CRD.
	}
	return admission
}

// resetQuery is the PgBouncer setting.
const resetQuery = "server_reset_query"

// defaultMaxClients is how many clients each pooler accepts.
const defaultMaxClients = 5000

func valueOr[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

func databasesOf(p *pass) []pgbouncer.Database {
	if len(p.pool.Spec.Databases) == 0 {
		return []pgbouncer.Database{{Name: p.source.Database, Database: p.source.Database}}
	}
	out := make([]pgbouncer.Database, 0, len(p.pool.Spec.Databases))
	for _, d := range p.pool.Spec.Databases {
		at := d.Database
		if at == "" {
			at = d.Name
		}
		out = append(out, pgbouncer.Database{Name: d.Name, Database: at})
	}
	return out
}

func modeOf(mode poolv1.PoolMode) pgbouncer.PoolMode {
	switch mode {
	case poolv1.PoolModeSession:
		return pgbouncer.ModeSession
	case poolv1.PoolModeStatement:
		return pgbouncer.ModeStatement
	case poolv1.PoolModeTransaction:
	}
	return pgbouncer.ModeTransaction
}

func parametersOf(pool *poolv1.ConnectionPool) map[string]string {
	out := make(map[string]string, len(pool.Spec.Parameters))
	for _, p := range pool.Spec.Parameters {
		out[p.Name] = p.Value
	}
	return out
}
