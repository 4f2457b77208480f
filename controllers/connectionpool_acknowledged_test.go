// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
)

func TestEveryPodThatServesMustRunAConfiguration(t *testing.T) {
	records, now := NewRecords(), time.Now()
	r := &ConnectionPoolReconciler{Records: records, Clock: clock.RealClock{}}
	pod := func(uid string, share int32, config string, change ...func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Annotations: map[string]string{
			poolv1.GrantAnnotation: contract.Grant{UID: uid, Share: share}.Encode(),
		}}}
		if config != "" {
			records.SetAck(p.UID, contract.Status{UID: uid, Config: config}, now)
		}
		for _, f := range change {
			f(&p)
		}
		return p
	}
	ending := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.DeletionGracePeriodSeconds = new(int64(70))
			p.DeletionTimestamp = new(metav1.NewTime(now.Add(70*time.Second - ago)))
		}
	}
	ungranted := func(p *corev1.Pod) { p.Annotations = nil }
	newest := pod("newest", 2, "new")
	for name, test := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"one that runs it":                           {newest, true},
		"one that runs another":                      {pod("old", 2, "old"), false},
		"one that has not answered":                  {pod("silent", 2, ""), false},
		"one that is parked":                         {pod("parked", 0, "old"), true},
		"one that has not started":                   {pod("fresh", 2, "", ungranted), true},
		"one in the ledger that the cache is behind": {pod("listed", 2, "", ungranted), false},
		"one that clients are still sent to":         {pod("ending", 2, "old", ending(time.Second)), false},
		"one that clients are no longer sent to":     {pod("ended", 2, "old", ending(contract.SpreadTime)), true},
	} {
		p := &pass{
			pool: &poolv1.ConnectionPool{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop"}}, pods: []corev1.Pod{newest, test.pod},
			upstream: &poolv1.Upstream{Status: poolv1.UpstreamStatus{Ledger: []poolv1.LedgerEntry{
				{Namespace: "demo", Pool: "shop", UID: "listed", Granted: new(int32(2))},
			}}},
		}
		if got := r.acknowledged(p, "new"); got != test.want {
			t.Errorf("with %s acknowledged = %t", name, got)
		}
	}
}
