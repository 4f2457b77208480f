// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/certificates"
	"github.com/poolfleet/poolfleet/internal/status"
)

// aManager is as much of one as keeps an authority.
func aManager(c client.Client, now clock.PassiveClock) *ConnectionPoolReconciler {
	return &ConnectionPoolReconciler{Client: c, Live: c, Clock: now, Settings: Settings{OperatorNamespace: "poolfleet-system"}}
}

func TestManagersThatMeetEndWithOneAuthority(t *testing.T) {
	now := testingclock.NewFakePassiveClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	for range 20 {
		c := fake.NewFakeClient()
		var all sync.WaitGroup
		found := make([]certificates.Authority, 8)
		for i := range found {
			all.Go(func() {
				var err error
				if found[i], err = aManager(c, now).authority(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, one := range found {
			if one.Pair != found[0].Pair {
				t.Fatal("two managers went on with different authorities")
			}
		}
	}
}

func TestManagersThatRenewTheAuthorityAtOnceGoOnWithOneKey(t *testing.T) {
	start := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	now := testingclock.NewFakePassiveClock(start)
	c := fake.NewFakeClient()
	old, err := aManager(c, now).authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now.SetTime(start.AddDate(7, 0, 0))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			renewed, err := aManager(c, now).authority(t.Context())
			if err != nil || renewed.Pair.Key != old.Pair.Key {
				t.Errorf("the key changed (%v)", err)
			}
		})
	}
	all.Wait()
	kept, err := aManager(c, now).authority(t.Context())
	if err != nil || !kept.Certificate.NotAfter.After(now.Now().AddDate(9, 0, 0)) {
		t.Errorf("it was not renewed (%v)", err)
	}
}

func TestAnAuthorityThatAPersonBroughtIsTheirsToRenew(t *testing.T) {
	start := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	now := testingclock.NewFakePassiveClock(start)
	c := fake.NewFakeClient()
	theirs, err := aManager(c, now).authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: "poolfleet-system", Name: AuthoritySecret}, &secret); err != nil {
		t.Fatal(err)
	}
	secret.Labels = nil
	if err := c.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	now.SetTime(start.AddDate(9, 0, 0))
	if found, err := aManager(c, now).authority(t.Context()); err != nil || found.Pair != theirs.Pair {
		t.Errorf("it was written over (%v)", err)
	}
}

func TestAManagerThatDoesNotKnowItsNamespaceSaysSo(t *testing.T) {
	r := aManager(fake.NewFakeClient(), clock.RealClock{})
	r.Settings.OperatorNamespace = ""
	_, err := r.authority(t.Context())
	if b, ok := errors.AsType[*status.Blocked](err); !ok || b.Reason != poolv1.ReasonCertificateMissing {
		t.Errorf("got %v", err)
	}
}
