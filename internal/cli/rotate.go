// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/publish"
)

func newRotateCommand(env *environment) *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use:   "rotate POOL",
		Short: "Give clients a new user and password",
		Long: `Give clients a new user and password, and wait until every pooler knows them and
the published Secret has them. The old ones work on for
spec.authentication.rotation.overlapSeconds, a day by default. It is for pools in
authentication mode Generated; other passwords are the database's.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: env.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.timeout <= 0 {
				return usageError("--timeout must be above 0: --no-wait does not wait")
			}
			return env.rotate(cmd.Context(), args[0], w)
		},
	}
	w.addFlags(cmd)
	return cmd
}

func (e *environment) rotate(ctx context.Context, name string, w waiting) error {
	s, err := e.session()
	if err != nil {
		return err
	}
	pool, err := s.pool(ctx, name)
	if err != nil {
		return err
	}
	if mode := pool.Spec.Authentication.Mode; mode != "" && mode != poolv1.AuthenticationGenerated {
		return wrong("ConnectionPool %s has authentication mode %s: its passwords are the database's, change them there", name, mode)
	}
	before := publishedUser(pool)
	if before == "" {
		return wrong("ConnectionPool %s has no credentials yet: %s", name, readyWords(pool))
	}
	if len(pool.Status.Credentials) >= publish.MaxGenerated {
		e.say("Note: %d users work already, as many as may: the rotation waits until the oldest ends, at %s; a shorter overlapSeconds ends it sooner",
			len(pool.Status.Credentials), oldestEnds(pool))
	}
	unasked := pool.DeepCopy()
	metav1.SetMetaDataAnnotation(&pool.ObjectMeta, poolv1.RotateAnnotation, time.Now().UTC().Format(time.RFC3339Nano))
	if err := s.client.Patch(ctx, pool, client.MergeFrom(unasked), client.FieldOwner(fieldManager)); err != nil {
		return fmt.Errorf("asking ConnectionPool %s for new credentials: %w", name, err)
	}
	if w.off {
		return e.print(rotation{Namespace: pool.Namespace, Name: name, Before: before}, human("ConnectionPool "+name+": new credentials are asked for"))
	}
	// The operator publishes credentials only once every pooler that takes clients knows them.
	published := func(pool *poolv1.ConnectionPool) bool { return publishedUser(pool) != before }
	if err := e.await(ctx, s, pool, w.timeout, published); err != nil {
		return err
	}
	return e.printRotation(pool, before)
}

// rotation is what programs read. No password is in it.
type rotation struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Before is the user that applications read until now, After the one they read now;
	// empty where that was not waited for.
	Before string `json:"before"`
	After  string `json:"after,omitempty"`
	Secret string `json:"secret,omitempty"`
	// BeforeEnds is when the old user ends.
	BeforeEnds *metav1.Time `json:"beforeEnds,omitempty"`
}

func (e *environment) printRotation(pool *poolv1.ConnectionPool, before string) error {
	r := rotation{Namespace: pool.Namespace, Name: pool.Name, Before: before, After: publishedUser(pool), Secret: pool.Status.Binding.Name}
	ends := "has ended"
	for _, c := range pool.Status.Credentials {
		if c.Username == before && c.ExpiresAt != nil {
			r.BeforeEnds, ends = c.ExpiresAt, "works until "+c.ExpiresAt.UTC().Format(time.RFC3339)
		}
	}
	return e.print(r, human(fmt.Sprintf("ConnectionPool %s: every pooler knows user %s, and Secret %s has it\nUser %s %s: have applications read the Secret again",
		r.Name, r.After, r.Secret, before, ends)))
}

// publishedUser is the one that applications read; empty where there is none.
func publishedUser(pool *poolv1.ConnectionPool) string {
	if len(pool.Status.Credentials) == 0 {
		return ""
	}
	return pool.Status.Credentials[0].Username
}

func oldestEnds(pool *poolv1.ConnectionPool) string {
	var oldest *metav1.Time
	for _, c := range pool.Status.Credentials {
		if c.ExpiresAt != nil && (oldest == nil || c.ExpiresAt.Before(oldest)) {
			oldest = c.ExpiresAt
		}
	}
	if oldest == nil {
		return "a time that is not known yet"
	}
	return oldest.UTC().Format(time.RFC3339)
}

// human is a line for people.
func human(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintln(w, text)
		return err
	}
}
