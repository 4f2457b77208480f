// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// complaint is what a pool says of what is wrong with it.
type complaint struct{ condition, reason, message string }

// badInput is one thing that can be wrong, and how it comes to be right.
type badInput struct {
	// name of the pool; its Secret is <name>-db.
	name string
	// secret is the Secret's data; nil makes none.
	secret map[string]string
	// edit makes the spec wrong, if it is the spec that is.
	edit func(*poolv1.ConnectionPoolSpec)
	// prepare makes what else is wrong.
	prepare func(*testing.T)
	says    complaint
	// heal takes the cause away. Nobody touches the pool.
	heal func(*testing.T)
	// serving is true where the pool serves clients all the same.
	serving bool
}

// badInput runs all cases at once: most of their time is waiting.
func (s *story) badInput(t *testing.T) {
	for _, c := range s.badInputs(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.complainsAndHeals(t, c)
		})
	}
	t.Run("certificate-then-standby", func(t *testing.T) {
		t.Parallel()
		s.standby(t)
	})
}

func (s *story) complainsAndHeals(t *testing.T, c badInput) {
	t.Helper()
	if c.secret != nil {
		s.create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: c.name + "-db"}, StringData: c.secret})
	}
	if c.prepare != nil {
		c.prepare(t)
	}
	pool := aPool(s.namespace, c.name, withReplicas(1), lookingOften)
	if c.edit != nil {
		c.edit(&pool.Spec)
	}
	s.create(t, pool)
	s.complains(t, pool, c.says, c.serving)
	s.saidOnce(t, pool, c.says, c.serving)
	c.heal(t)
	s.awaitReady(t, pool)
	s.awaitCondition(t, pool, c.says.condition, metav1.ConditionTrue, healed[c.says.condition])
	if meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionStalled) != nil {
		t.Errorf("the pool still needs a person:%s", spoken(pool.Status.Conditions))
	}
	s.remove(t, pool)
}

// healed are the reasons of conditions that hold.
var healed = map[string]string{
	poolv1.ConditionUpstreamObserved: poolv1.ReasonObserved,
	poolv1.ConditionBudgetGranted:    poolv1.ReasonGranted,
	poolv1.ConditionPoolersAvailable: poolv1.ReasonMinimumAvailable,
	poolv1.ConditionConfigApplied:    poolv1.ReasonApplied,
}

// complains waits for the complaint and checks it word for word.
func (s *story) complains(t *testing.T, pool *poolv1.ConnectionPool, says complaint, serving bool) {
	t.Helper()
	found := s.awaitCondition(t, pool, says.condition, metav1.ConditionFalse, says.reason)
	message := strings.ReplaceAll(found.Message, s.namespace, "NAMESPACE")
	if diff := cmp.Diff(says.message, message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	stalled := s.awaitCondition(t, pool, poolv1.ConditionStalled, metav1.ConditionTrue, says.reason)
	if stalled.Message != found.Message {
		t.Errorf("Stalled says %q", stalled.Message)
	}
	if serving {
		s.awaitReady(t, pool)
	} else {
		s.awaitCondition(t, pool, poolv1.ConditionReady, metav1.ConditionFalse, says.reason)
	}
}

// saidOnce checks that the manager's log has the problem once and no error beside
// it. What leaves a pool serving is news of its start at most.
func (s *story) saidOnce(t *testing.T, pool *poolv1.ConnectionPool, says complaint, serving bool) {
	t.Helper()
	times := 0
	for _, entry := range s.entries(t, pool.Namespace, pool.Name) {
		if entry.Reason == says.reason {
			times++
		}
		if entry.Level != "INFO" {
			t.Errorf("the manager logged %s: %s: %s", entry.Level, entry.Msg, entry.Error)
		}
	}
	if times != 1 && !serving {
		t.Errorf("the manager's log has the problem %d times, want once", times)
	}
}

func (s *story) badInputs(t *testing.T) []badInput {
	t.Helper()
	return append(s.badSecrets(t), append(s.badServers(t), s.badSpecs(t)...)...)
}

func observed(reason, message string) complaint {
	return complaint{poolv1.ConditionUpstreamObserved, reason, message}
}

func taker(object string) complaint {
	return complaint{
		poolv1.ConditionPoolersAvailable, poolv1.ReasonNameConflict,
		object + " is there already and is not this pool's: rename or delete it, or give the pool another name",
	}
}

func secretData(url string) map[string]string { return map[string]string{"DATABASE_URL": url} }

func (s *story) badSecrets(t *testing.T) []badInput {
	t.Helper()
	url := s.server.role(t, "secrets", "")
	return []badInput{
		{
			name: "secret-missing",
			says: observed(poolv1.ReasonSecretMissing, "Secret secret-missing-db is not in namespace NAMESPACE: create it with the server's URL under DATABASE_URL"),
			heal: s.creating(aSecret(s.namespace, "secret-missing-db", url)),
		},
		{
			name:   "key-missing",
			secret: map[string]string{"note": "nothing here"},
			says:   observed(poolv1.ReasonKeyMissing, "The Secret holds no URL and no host: put a URL under DATABASE_URL, or host, user, password and dbname, or name the URL's key in spec.upstream.secretRef.key"),
			heal:   s.correct("key-missing", url),
		},
		{
			name:   "url-malformed",
			secret: secretData("mysql://shop:" + s.secretWord() + "@db.example.com:3306/shop"),
			says:   observed(poolv1.ReasonInvalidURL, "The URL is not one of PostgreSQL: it must start with postgresql:// or postgres://"),
			heal:   s.correct("url-malformed", url),
		},
		{
			name:   "tls-refused",
			secret: secretData(strings.Replace(url, "sslmode=disable", "sslmode=require", 1)),
			says:   observed(poolv1.ReasonTLSFailed, "PostgreSQL at postgres.NAMESPACE.svc:5432 does not speak TLS, and sslmode require asks for it: turn ssl on there, or add sslmode=disable to the URL if nobody can listen on the way"),
			heal:   s.correct("tls-refused", url),
		},
		{
			name:   "already-pooled",
			secret: secretData(string(s.published(t, s.pool).Data["DATABASE_URL"])),
			says:   observed(poolv1.ReasonAlreadyPooled, "Another pooler answers at this address: name the server itself in the Secret, or set spec.upstream.maxConnections to what this pool may take"),
			heal:   s.correct("already-pooled", url),
		},
	}
}

func (s *story) badServers(t *testing.T) []badInput {
	t.Helper()
	url := s.server.role(t, "servers", "")
	elsewhere := func(host string) map[string]string {
		return secretData(strings.Replace(url, "@postgres.", "@"+host+".", 1))
	}
	wrongPassword := s.server.role(t, "forgetful", "")
	s.server.run(t, "alter role forgetful password '"+s.secretWord()+"'")
	missing := strings.Replace(url, "/servers?", "/nowhere?", 1)
	narrow := s.server.role(t, "narrow", "connection limit 2")
	return []badInput{
		{
			name:   "host-unknown",
			secret: elsewhere("nowhere"),
			says:   observed(poolv1.ReasonHostUnknown, "The name nowhere.NAMESPACE.svc leads nowhere: correct the host in the Secret (a Service in another namespace is <service>.<namespace>.svc)"),
			heal:   s.creating(s.service("nowhere", "postgres")),
		},
		{
			name:    "port-closed",
			secret:  elsewhere("closed"),
			prepare: s.creating(s.service("closed", "nobody")),
			says:    observed(poolv1.ReasonUnreachable, "No PostgreSQL answers at closed.NAMESPACE.svc:5432: check host and port in the Secret, that the server runs, and that firewalls and allow-lists let the operator in"),
			heal:    s.leading("closed", "postgres"),
		},
		{
			name:   "password-wrong",
			secret: secretData(wrongPassword),
			says:   observed(poolv1.ReasonAuthenticationFailed, "The server refused the user or the password: correct them in the Secret"),
			heal:   s.server.running("alter role forgetful password '" + passwordOf(t, wrongPassword) + "'"),
		},
		{
			name:   "database-missing",
			secret: secretData(missing),
			says:   observed(poolv1.ReasonDatabaseMissing, "The server has no database nowhere: create it, or correct its name in the Secret"),
			heal:   s.server.running("create database nowhere owner servers"),
		},
		{
			name:    "more-pods-than-connections",
			secret:  secretData(narrow),
			edit:    withReplicas(3),
			says:    complaint{poolv1.ConditionBudgetGranted, poolv1.ReasonInsufficientBudget, "The pool's 2 connections are enough for 2 of 3 poolers at 1 each: lower spec.replicas, or raise the server's max_connections or the CONNECTION LIMIT of its role or database"},
			heal:    s.server.running("alter role narrow connection limit -1"),
			serving: true,
		},
	}
}

// badSpecs are those that the API server can not refuse.
func (s *story) badSpecs(t *testing.T) []badInput {
	t.Helper()
	url := s.server.role(t, "specs", "")
	var cases []badInput
	for _, c := range []struct{ name, parameter, message string }{
		{"parameter-unknown", "work_mem", "parameter work_mem is not one of those that you can set: " + strings.Join(pgbouncer.AllowedParameters(), ", ")},
		{"parameter-breaks-budget", "default_pool_size", "parameter default_pool_size is set by the operator: use spec.serverConnections"},
	} {
		cases = append(cases, badInput{
			name: c.name, secret: secretData(url),
			edit: func(spec *poolv1.ConnectionPoolSpec) {
				spec.Parameters = []poolv1.Parameter{{Name: c.parameter, Value: "100"}}
			},
			says: complaint{poolv1.ConditionConfigApplied, poolv1.ReasonRejected, c.message},
			heal: s.withoutParameters(c.name),
		})
	}
	taken := s.service("service-taken-pool", "somebody")
	secret := aSecret(s.namespace, "secret-taken-pool", "mine")
	return append(cases,
		badInput{
			name: "service-taken", secret: secretData(url),
			prepare: s.creating(taken),
			says:    taker("Service service-taken-pool"),
			heal:    s.freeing(taken),
		},
		badInput{
			name: "secret-taken", secret: secretData(url),
			prepare: s.creating(secret),
			says:    taker("Secret secret-taken-pool"),
			heal:    s.freeing(secret),
		},
	)
}

// standby first can not be trusted, then is no primary, and then becomes one.
func (s *story) standby(t *testing.T) {
	t.Helper()
	const name = "standby"
	server := s.startServer(t, install.Postgres{Namespace: s.namespace, Name: name, Standby: true, TLS: true})
	url := func(mode string) string {
		return strings.Replace(server.AdminURL(), "sslmode=disable", "sslmode="+mode, 1)
	}
	s.complainsAndHeals(t, badInput{
		name:   name,
		secret: secretData(url("verify-full")),
		says:   observed(poolv1.ReasonTLSFailed, "The server's certificate is signed by an authority that is not trusted: name that authority, up to its root, in spec.upstream.tls.caSecretRef, or use sslmode=require, which encrypts without checking who answers"),
		heal: func(t *testing.T) {
			t.Helper()
			s.correct(name, url("require"))(t)
			s.complains(t, aPool(s.namespace, name), observed(poolv1.ReasonInRecovery,
				"The server is a standby and takes no writes: name the primary in the Secret, or promote this server; for reads alone set spec.upstream.targetSessionAttributes: read-only"), false)
			server.run(t, "select pg_promote()")
		},
	})
}
