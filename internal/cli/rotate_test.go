// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func TestRotateReturnsOnceTheNewUserIsPublished(t *testing.T) {
	ends := metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	asked := ""
	pool, _ := shop()
	s := aStage(t, operator(t, func(pool *poolv1.ConnectionPool) {
		asked = pool.Annotations[poolv1.RotateAnnotation]
		pool.Status.Credentials = []poolv1.ClientCredential{{Username: "app-2"}, {Username: "app", ExpiresAt: &ends}}
	}), pool)
	if code := s.run(t, "rotate", "shop", "-o", "json"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	var got rotation
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if asked == "" || got.Before != "app" || got.After != "app-2" || got.Secret != "shop-pool" || !got.BeforeEnds.Equal(&ends) {
		t.Errorf("asked with %q, it says %+v", asked, got)
	}
}

func TestRotateRefusesWhatItCanNotDo(t *testing.T) {
	upstream, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Spec.Authentication.Mode = poolv1.AuthenticationUpstream })
	early, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Status.Credentials = nil })
	pool, _ := shop()
	aStage(t, interceptor.Funcs{}, upstream).exits(t, exitWrong, "its passwords are the database's", "rotate", "shop")
	aStage(t, interceptor.Funcs{}, early).exits(t, exitWrong, "no credentials yet", "rotate", "shop")
	aStage(t, interceptor.Funcs{}).exits(t, exitWrong, "no ConnectionPool shop", "rotate", "shop")
	aStage(t, interceptor.Funcs{}, pool).exits(t, exitUsage, "--timeout must be above 0", "rotate", "shop", "--timeout", "-1s")
	aStage(t, interceptor.Funcs{}, pool).exits(t, exitUsage, "arg", "rotate")
	aStage(t, interceptor.Funcs{}, pool).exits(t, exitWrong, "it is not done after 1ms", "rotate", "shop", "--timeout", "1ms")
}

func TestRotateSaysThatItWaitsForRoom(t *testing.T) {
	ends := metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	pool, _ := shop(func(pool *poolv1.ConnectionPool) {
		for _, name := range []string{"app-2", "app-3", "app-4", "app-5"} {
			pool.Status.Credentials = append(pool.Status.Credentials, poolv1.ClientCredential{Username: name, ExpiresAt: &ends})
		}
	})
	aStage(t, interceptor.Funcs{}, pool).exits(t, exitFine, "until the oldest ends, at 2030-01-02T03:04:05Z", "rotate", "shop", "--no-wait")
}
