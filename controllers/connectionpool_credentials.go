// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
	"github.com/poolfleet/poolfleet/internal/publish"
	"github.com/poolfleet/poolfleet/internal/status"
)

// defaultOverlap is how long replaced credentials work.
const defaultOverlap = 24 * time.Hour

// rotationAsked lets a request for a rotation through: it is no part of the spec.
func rotationAsked() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetAnnotations()[poolv1.RotateAnnotation] != e.ObjectNew.GetAnnotations()[poolv1.RotateAnnotation]
	}}
}

// wishOf is what the spec asks of the credentials.
func wishOf(p *pass) publish.Wish {
	rotation := p.pool.Spec.Authentication.Rotation
	w := publish.Wish{
		Origin: publish.OriginGenerated, Server: publish.Login{Username: p.source.User, Password: p.source.Password},
		Asked: p.pool.Annotations[poolv1.RotateAnnotation], Overlap: defaultOverlap,
		MaxAge: time.Duration(valueOr(rotation.MaxAgeDays, 0)) * 24 * time.Hour,
	}
	if mode := p.pool.Spec.Authentication.Mode; mode == poolv1.AuthenticationUpstream || mode == poolv1.AuthenticationQuery {
		w.Origin = publish.OriginServer
	}
	if rotation.OverlapSeconds != nil {
		w.Overlap = time.Duration(*rotation.OverlapSeconds) * time.Second
	}
	return w
}

// lookedUp reports whether clients are roles of the server: none is in a list.
func lookedUp(pool *poolv1.ConnectionPool) bool {
	return pool.Spec.Authentication.Mode == poolv1.AuthenticationQuery
}

// nextKeyring takes the credentials' next step, from what earlier passes kept.
func (r *ConnectionPoolReconciler) nextKeyring(ctx context.Context, p *pass, kept keptSecrets) (publish.Keyring, error) {
	if p.pool.Spec.Authentication.Mode == poolv1.AuthenticationUpstream && p.source.Password == "" {
		return publish.Keyring{}, status.Block(poolv1.ConditionConfigApplied, poolv1.ReasonRejected,
			"The Secret holds no password, and clients log in with it: add it, or choose another authentication.mode")
	}
	wish := wishOf(p)
	sight := publish.Sight{Now: r.Clock.Now().UTC().Truncate(time.Second), Known: r.known(p, kept)}
	keyring, lost := publish.DecodeKeyring(kept.keyring)
	if lost != nil || !keyring.Settled() {
		var err error
		if sight.Published, err = r.published(ctx, p.pool, wish); err != nil {
			return publish.Keyring{}, err
		}
	}
	if lost != nil {
		var err error
		if keyring, err = publish.Recover(credentialsIn(kept.document), sight.Published, wish, sight.Now, rand.Reader); err != nil {
			return publish.Keyring{}, fmt.Errorf("recovering the pool's credentials: %w", err)
		}
		if p.deployment != nil {
			log.FromContext(ctx).Info("The pool's credentials were lost, and made out from what applications and poolers know", "found", len(keyring.Credentials))
		}
	}
	next, err := keyring.Next(wish, sight, rand.Reader)
	if err != nil {
		return publish.Keyring{}, fmt.Errorf("making the pool's credentials: %w", err)
	}
	p.rotated = lost == nil && !lookedUp(p.pool) && keyring.Published().Login != next.Published().Login
	p.keyring, p.wish = next, wish
	return next, nil
}

// known reports of a credential whether every pooler that serves lets it in.
func (r *ConnectionPoolReconciler) known(p *pass, kept keptSecrets) func(publish.Credential) bool {
	acknowledged := r.acknowledged(p, kept.revision)
	return func(c publish.Credential) bool {
		if lookedUp(p.pool) {
			return acknowledged && kept.document.PgBouncer.Lookup != pgbouncer.Lookup{}
		}
		return acknowledged && slices.Contains(kept.document.PgBouncer.Users, userOf(c))
	}
}

// acknowledged reports whether every pod that serves runs a configuration. One on its
// way out takes up none any more, and has clients sent to it for a moment yet; one of
// the server that the pool was on before is in no ledger of this one.
func (r *ConnectionPoolReconciler) acknowledged(p *pass, revision string) bool {
	granted := entriesOf(p.upstream, p.pool)
	return !slices.ContainsFunc(p.pods, func(pod corev1.Pod) bool {
		grant, err := contract.DecodeGrant(pod.Annotations[poolv1.GrantAnnotation])
		parked := err == nil && grant.Share == 0 && granted[pod.UID] == 0
		if parked || left(&pod, r.Clock.Now()) {
			return false
		}
		ack, ok := r.Records.Ack(pod.UID)
		return !ok || ack.Config != revision
	})
}

// left reports whether clients are no longer sent to a pod.
func left(pod *corev1.Pod, now time.Time) bool {
	if pod.DeletionTimestamp.IsZero() {
		return false
	}
	grace := time.Duration(valueOr(pod.DeletionGracePeriodSeconds, 0)) * time.Second
	return now.Sub(pod.DeletionTimestamp.Add(-grace)) >= contract.SpreadTime
}

// published is what applications can read. Another's Secret of that name says nothing.
// Where clients are roles of the server, the Secret names none: they know their own.
func (r *ConnectionPoolReconciler) published(ctx context.Context, pool *poolv1.ConnectionPool, wish publish.Wish) (publish.Login, error) {
	if lookedUp(pool) {
		return wish.Server, nil
	}
	name := manifests.PublishedSecretName(pool.Name, pool.Spec.Secret)
	data, err := secretOf(ctx, r.Live, types.NamespacedName{Namespace: pool.Namespace, Name: name}, pool.UID)
	return publish.ReadLogin(data), err
}

func userOf(c publish.Credential) pgbouncer.User {
	return pgbouncer.User{Name: c.Username, Password: c.Secret}
}

// credentialsIn are the names and secrets that poolers let in.
func credentialsIn(document contract.Document) []publish.Credential {
	var all []publish.Credential
	for _, user := range document.PgBouncer.Users {
		all = append(all, publish.Credential{Login: publish.Login{Username: user.Name}, Secret: user.Password})
	}
	return all
}

// clientCredentials are the generated credentials that work, the published one first.
func clientCredentials(p *pass) []poolv1.ClientCredential {
	if lookedUp(p.pool) {
		return nil
	}
	var all []poolv1.ClientCredential
	for _, c := range p.keyring.Accepted() {
		if c.Origin != publish.OriginGenerated {
			continue
		}
		one := poolv1.ClientCredential{Username: c.Username, IssuedAt: new(metav1.NewTime(c.IssuedAt))}
		if ends := c.EndsAt(p.wish); !ends.IsZero() {
			one.ExpiresAt = new(metav1.NewTime(ends))
		}
		at := len(all)
		if c.Login == p.keyring.Published().Login {
			at = 0
		}
		all = slices.Insert(all, at, one)
	}
	return all
}

// tellRotation tells of new credentials, and of a rotation that has to wait.
func (r *ConnectionPoolReconciler) tellRotation(p *pass) {
	if p.rotated {
		r.Recorder.Eventf(p.pool, nil, corev1.EventTypeNormal, poolv1.EventRotated, "Rotate",
			"Applications have a new user and password in Secret %s", manifests.PublishedSecretName(p.pool.Name, p.pool.Spec.Secret))
	}
	waits := occasion{pool: client.ObjectKeyFromObject(p.pool), what: "rotation"}
	if r.Records.Tell(waits, p.keyring.Waits(p.wish), r.Clock.Now(), 0) {
		r.Recorder.Eventf(p.pool, nil, corev1.EventTypeWarning, poolv1.EventRotationWaits, "Rotate",
			"%d credentials work already: the rotation waits until the oldest expires; lower authentication.rotation.overlapSeconds to end those that are replaced sooner", publish.MaxGenerated)
	}
}

// credentialsDue is in how long the pass is due once more: when time alone changes
// the credentials, or when poolers have yet to know one, if that is sooner than otherwise.
func (r *ConnectionPoolReconciler) credentialsDue(p *pass, otherwise time.Duration) time.Duration {
	if p.revision == "" {
		return otherwise
	}
	if p.keyring.Credentials[0].PublishedAt.IsZero() {
		return min(otherwise, retryInterval)
	}
	if due := p.keyring.Due(p.wish); !due.IsZero() {
		return min(otherwise, max(due.Sub(r.Clock.Now()), time.Second))
	}
	return otherwise
}

// keptSecrets are what earlier passes put into the poolers' own Secret.
type keptSecrets struct {
	// document is what the poolers were told last, and revision its name; zero before
	// the first.
	document contract.Document
	revision string
	// keyring is encoded.
	keyring []byte
}

// readKept reads what earlier passes put into the poolers' own Secret. What
// applications read is made from it, so a change there is repaired, and a new name
// for it changes no password.
func (r *ConnectionPoolReconciler) readKept(ctx context.Context, pool *poolv1.ConnectionPool) (keptSecrets, error) {
	data, err := secretOf(ctx, r.Live, types.NamespacedName{Namespace: pool.Namespace, Name: manifests.ConfigSecretName(pool.Name)}, pool.UID)
	if err != nil {
		return keptSecrets{}, err
	}
	kept := keptSecrets{keyring: data[manifests.CredentialsKey]}
	if kept.document, err = documentIn(data); err == nil {
		kept.revision = contract.Revision(data[contract.ConfigKey])
	}
	return kept, nil
}

// ownSecrets are what must not change from one pass to the next.
type ownSecrets struct {
	statusKey []byte
	keyring   publish.Keyring
	// document is what the poolers were told last; its zero value before the first.
	document contract.Document
}

const statusKeyBytes = 32

// ownSecrets takes what earlier passes kept a step further, and generates what is missing.
func (r *ConnectionPoolReconciler) ownSecrets(ctx context.Context, p *pass) (ownSecrets, error) {
	kept, err := r.readKept(ctx, p.pool)
	if err != nil {
		return ownSecrets{}, err
	}
	own := ownSecrets{statusKey: kept.document.StatusKey, document: kept.document}
	if len(own.statusKey) == 0 {
		own.statusKey = make([]byte, statusKeyBytes)
		if _, err := rand.Read(own.statusKey); err != nil {
			return ownSecrets{}, fmt.Errorf("generating a status key: %w", err)
		}
	}
	own.keyring, err = r.nextKeyring(ctx, p, kept)
	return own, err
}

// errNoDocument means that a pool's poolers have no configuration yet.
var errNoDocument = errors.New("the pool has no configuration yet")

// statusKey reads the key that a pool's pods answer with.
func statusKey(ctx context.Context, live client.Reader, namespace, pool string) ([]byte, error) {
	data, err := secretOf(ctx, live, types.NamespacedName{Namespace: namespace, Name: manifests.ConfigSecretName(pool)}, "")
	if err != nil {
		return nil, err
	}
	document, err := documentIn(data)
	return document.StatusKey, err
}

// documentIn reads the configuration in a pool's own Secret.
func documentIn(data map[string][]byte) (contract.Document, error) {
	document, err := contract.DecodeDocument(data[contract.ConfigKey])
	if err != nil || len(document.StatusKey) != statusKeyBytes {
		return contract.Document{}, errNoDocument
	}
	return document, nil
}

// secretOf reads a Secret of a pool; nothing where there is none. Another's Secret of
// that name is never taken up: its content could be anyone's choice. An empty owner is
// any pool.
func secretOf(ctx context.Context, live client.Reader, key types.NamespacedName, owner types.UID) (map[string][]byte, error) {
	var secret corev1.Secret
	if err := live.Get(ctx, key, &secret); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", key.Name, err)
	}
	controller := metav1.GetControllerOf(&secret)
	if controller == nil || owner != "" && controller.UID != owner {
		return nil, nil
	}
	return secret.Data, nil
}
