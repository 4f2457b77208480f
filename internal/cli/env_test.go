// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/publish"
)

func TestEnvPrintsWhatThePoolPublishes(t *testing.T) {
	pool, _ := shop()
	secret := publishedBy(publish.Inputs{CA: "the authority", EdgeHost: "shop-demo.edge.example.com"})
	s := aStage(t, interceptor.Funcs{}, pool, secret)
	for format, wants := range map[string][]string{
		"dotenv":   {`DATABASE_URL="` + string(secret.Data["DATABASE_URL"]) + `"` + "\n", `DIRECT_URL="`, `EDGE_URL="`, `ACCELERATE_URL="`},
		"wrangler": {string(secret.Data["wrangler.toml"])},
		"dev-vars": {string(secret.Data[".dev.vars"])},
		"prisma":   {string(secret.Data["schema.prisma"]), string(secret.Data["prisma.config.ts"]), string(secret.Data[".env"])},
		"jdbc":     {"jdbc:postgresql://shop-pool.demo.svc:5432/shop?user=app&password=p%26ss%3Aw%5Crd%241\n"},
	} {
		t.Run(format, func(t *testing.T) {
			if code := s.run(t, "env", "shop", "--format", format); code != exitFine {
				t.Fatalf("exit code %d: %s", code, s.err.String())
			}
			for _, want := range wants {
				if !strings.Contains(s.out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, s.out.String())
				}
			}
			if s.err.Len() > 0 {
				t.Errorf("beside the answer stands: %s", s.err.String())
			}
		})
	}
}

func TestEnvPrintsAllKeysAsJSON(t *testing.T) {
	pool, secret := shop()
	s := aStage(t, interceptor.Funcs{}, pool, secret)
	if code := s.run(t, "env", "shop", "--format", "json"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	var got map[string]string
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["password"] != stagePassword || len(got) != len(secret.Data) {
		t.Errorf("the keys are not those of the Secret: %v", got)
	}
}

func TestEnvSaysWhyItHasNothingToPrint(t *testing.T) {
	forbidden := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*corev1.Secret); ok {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("no role"))
		}
		return c.Get(ctx, key, o, opts...)
	}}
	unpublished := func(pool *poolv1.ConnectionPool) {
		pool.Status.Binding.Name = ""
		ready(pool, metav1.ConditionFalse, poolv1.ReasonSecretMissing, "Secret shop-db is not there")
	}
	pool, secret := shop()
	early, _ := shop(unpublished)
	for _, c := range []struct {
		why   string
		stage *stage
		args  []string
		code  int
		words string
	}{
		{"no pool", aStage(t, interceptor.Funcs{}), []string{"env", "shop"}, exitWrong, "no ConnectionPool shop"},
		{"nothing published", aStage(t, interceptor.Funcs{}, early), []string{"env", "shop"}, exitWrong, "SecretMissing: Secret shop-db is not there"},
		{"no Secret", aStage(t, interceptor.Funcs{}, pool), []string{"env", "shop"}, exitWrong, "Secret shop-pool"},
		{"no right", aStage(t, forbidden, pool, secret), []string{"env", "shop"}, exitUnasked, "ask an administrator"},
		{"not at the edge", aStage(t, interceptor.Funcs{}, pool, secret), []string{"env", "shop", "--format", "prisma"}, exitWrong, "spec.edge.mode"},
		{"unknown format", aStage(t, interceptor.Funcs{}, pool, secret), []string{"env", "shop", "--format", "xml"}, exitUsage, "dotenv, wrangler"},
		{"no pool named", aStage(t, interceptor.Funcs{}), []string{"env"}, exitUsage, "arg"},
		{"-o", aStage(t, interceptor.Funcs{}, pool, secret), []string{"env", "shop", "-o", "json"}, exitUsage, "--format json"},
	} {
		t.Run(c.why, func(t *testing.T) {
			c.stage.exits(t, c.code, c.words, c.args...)
			if c.stage.out.Len() > 0 {
				t.Errorf("there is output: %s", c.stage.out.String())
			}
		})
	}
}

func TestEnvSaysThatClientsCanNotConnectNow(t *testing.T) {
	pool, secret := shop(func(pool *poolv1.ConnectionPool) {
		ready(pool, metav1.ConditionFalse, poolv1.ReasonPaused, "2 of 2 poolers hold their clients")
	})
	aStage(t, interceptor.Funcs{}, pool, secret).exits(t, exitFine, "clients can not connect now: Paused", "env", "shop")
}
