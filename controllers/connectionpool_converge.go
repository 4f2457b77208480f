// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/kube"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

const statusKeyBytes = 32

// converge renders, builds and applies what the pool consists of.
func (r *ConnectionPoolReconciler) converge(ctx context.Context, p *pass) error {
	account := accountOf(p.upstream, p.pool)
	if account == nil {
		return nil // The server's account comes first; it wakes this pool.
	}
	// By what it is entitled to: a loan, which may be called back in a moment, scales nothing.
	p.bounded = budget.PodsThatFit(entitled(account), account.Floor, replicasOf(p.pool))
	secrets, err := r.readOwn(ctx, p.pool)
	if err != nil {
		return err
	}
	document, err := documentOf(p, secrets)
	if err != nil {
		return err
	}
	data, revision, err := document.Encode()
	if err != nil {
		return err
	}
	published := publish.Build(publication(p, secrets.credential))
	p.revision, p.urls = revision, poolv1.PublishedURLs{Pooled: published.URLs.Pooled, Direct: published.URLs.Direct}
	in := manifests.FromPool(p.pool)
	in.Replicas, in.Image, in.ImagePullPolicy = p.bounded, cmp.Or(in.Image, r.Settings.PoolerImage), r.Settings.PullPolicy
	in.Upstream = p.upstream.Name
	in.UpstreamPort, in.OperatorNamespace = int32(p.source.Port), r.Settings.OperatorNamespace
	in.Config, in.ConfigRevision, in.Published = data, revision, published.Data
	return blockedByApply(r.apply(ctx, p.pool, manifests.Build(in)))
}

// apply writes what the pool consists of and deletes what it no longer does.
func (r *ConnectionPoolReconciler) apply(ctx context.Context, pool *poolv1.ConnectionPool, objects []runtime.ApplyConfiguration) error {
	if err := r.Applier.Apply(ctx, pool, objects...); err != nil {
		return err
	}
	return r.Applier.Prune(ctx, pool, objects...)
}

// blockedByApply turns a refused write into what the status says of it.
func blockedByApply(err error) error {
	var conflict *kube.ConflictError
	var refused *kube.RefusedError
	switch {
	case errors.As(err, &conflict) && conflict.Predecessor:
		return status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonPending, "%s", sentence(conflict.Error()))
	case errors.As(err, &conflict):
		return status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonNameConflict,
			"%s %s is there already and is not this pool's: rename or delete it, or give the pool another name", conflict.Kind, conflict.Name)
	case errors.As(err, &refused):
		return status.Block(poolv1.ConditionPoolersAvailable, poolv1.ReasonRefused, "%s", sentence(refused.Error()))
	}
	return err
}

// ownSecrets are what the pool's Secrets hold that must not change from one pass
// to the next.
type ownSecrets struct {
	credential publish.Credential
	statusKey  []byte
	// connectQuery is the one that the poolers run.
	connectQuery string
}

// readOwn reads what earlier passes generated, and generates what is missing. It
// stands in the poolers' own Secret; what applications read is made from it, so a
// change there is repaired, and a new name for it changes no password.
func (r *ConnectionPoolReconciler) readOwn(ctx context.Context, pool *poolv1.ConnectionPool) (ownSecrets, error) {
	document, err := ownDocument(ctx, r.Live, pool.Namespace, pool.Name, pool.UID)
	switch {
	case err == nil && len(document.PgBouncer.Users) > 0:
		user := document.PgBouncer.Users[0]
		return ownSecrets{
			credential: publish.Credential{Username: user.Name, Password: user.Password}, statusKey: document.StatusKey,
			connectQuery: document.PgBouncer.ConnectQuery,
		}, nil
	case err != nil && !errors.Is(err, errNoDocument):
		return ownSecrets{}, err
	}
	credential, err := publish.NewCredential(rand.Reader)
	if err != nil {
		return ownSecrets{}, fmt.Errorf("generating a credential: %w", err)
	}
	key := make([]byte, statusKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return ownSecrets{}, fmt.Errorf("generating a status key: %w", err)
	}
	return ownSecrets{credential: credential, statusKey: key}, nil
}

// errNoDocument means that a pool's poolers have no configuration yet.
var errNoDocument = errors.New("the pool has no configuration yet")

// ownDocument reads the configuration of a pool's poolers. Another's Secret of that
// name is never taken up: its content could be anyone's choice.
func ownDocument(ctx context.Context, live client.Reader, namespace, pool string, owner types.UID) (contract.Document, error) {
	var secret corev1.Secret
	err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: manifests.ConfigSecretName(pool)}, &secret)
	if apierrors.IsNotFound(err) {
		return contract.Document{}, errNoDocument
	}
	if err != nil {
		return contract.Document{}, fmt.Errorf("reading the pool's configuration: %w", err)
	}
	controller := metav1.GetControllerOf(&secret)
	if controller == nil || owner != "" && controller.UID != owner {
		return contract.Document{}, errNoDocument
	}
	document, err := contract.DecodeDocument(secret.Data[contract.ConfigKey])
	if err != nil || len(document.StatusKey) != statusKeyBytes {
		return contract.Document{}, errNoDocument
	}
	return document, nil
}

// statusKey reads the key that a pool's pods answer with.
func statusKey(ctx context.Context, live client.Reader, namespace, pool string) ([]byte, error) {
	document, err := ownDocument(ctx, live, namespace, pool, "")
	return document.StatusKey, err
}

// documentOf is the configuration of the pool's poolers. Roles are those of the pools
// at the server, as far as they are known.
func documentOf(p *pass, own ownSecrets) (contract.Document, error) {
	config := pgbouncer.Config{
		Server: pgbouncer.Server{
			Host: p.source.Host, Port: p.source.Port,
			User: p.source.User, Password: p.source.Password, TLSMode: p.source.TLSMode,
		},
		Databases:                databasesOf(p),
		Mode:                     modeOf(p.pool.Spec.Mode),
		Users:                    []pgbouncer.User{{Name: own.credential.Username, Password: own.credential.Password}},
		MaxClientConnections:     cmp.Or(p.pool.Spec.Clients.MaxConnections, defaultMaxClients),
		ClientIdleTimeoutSeconds: valueOr(p.pool.Spec.Clients.IdleTimeoutSeconds, 0),
		Parameters:               parametersOf(p.pool),
	}
	if !p.record.Pooled && p.upstream.Status.Capacity.Withheld != nil {
		config.ConnectQuery = connectQuery(p.upstream, own.connectQuery)
	}
	// DISCARD ALL, which PgBouncer runs between clients in session mode, would undo a
	// part of the connect query.
	if _, chosen := config.Parameters[resetQuery]; config.ConnectQuery != "" && config.Mode == pgbouncer.ModeSession && !chosen {
		config.Parameters[resetQuery] = budget.ResetQuery()
	}
	if err := pgbouncer.Validate(config); err != nil {
		return contract.Document{}, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonRejected, "%s", err.Error())
	}
	return contract.Document{Version: contract.DocumentVersion, StatusKey: own.statusKey, PgBouncer: config}, nil
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

func valueOr(v *int32, otherwise int32) int32 {
	if v == nil {
		return otherwise
	}
	return *v
}

func replicasOf(pool *poolv1.ConnectionPool) int32 { return valueOr(pool.Spec.Replicas, 2) }

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

// publication gathers what the published URLs are made of.
func publication(p *pass, credential publish.Credential) publish.Inputs {
	return publish.Inputs{
		Host: manifests.ServiceHost(p.pool.Name, p.pool.Namespace), Port: contract.ClientPort,
		Database: databasesOf(p)[0].Name, Credential: credential,
		Direct: p.source.URL(), DirectWithoutPassword: p.source.RedactedURL(),
	}
}
