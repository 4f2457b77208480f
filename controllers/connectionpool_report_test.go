// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/status"
)

func TestWhatAPodRunsIsWhatItSaysOnceItWasAsked(t *testing.T) {
	says := func(s contract.Status) func(*Records, types.UID) {
		return func(r *Records, pod types.UID) { r.SetAsked(pod); r.SetAck(pod, s, time.Now()) }
	}
	cases := map[string]struct {
		happens func(*Records, types.UID)
		want    status.Config
	}{
		"nothing: the operator has just started": {func(*Records, types.UID) {}, status.Config{Pods: 1, Unasked: 1}},
		"it was told of a grant":                 {func(r *Records, pod types.UID) { r.SetAsked(pod) }, status.Config{Pods: 1}},
		"it runs the newest":                     {says(contract.Status{Config: "new"}), status.Config{Pods: 1, Applied: 1}},
		"it runs an older one":                   {says(contract.Status{Config: "old"}), status.Config{Pods: 1}},
		"it holds its clients":                   {says(contract.Status{Config: "new", Paused: true}), status.Config{Pods: 1, Applied: 1, Paused: 1}},
		"it refuses the newest":                  {says(contract.Status{Config: "old", Problem: "no"}), status.Config{Pods: 1, Problem: "no"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &ConnectionPoolReconciler{Records: NewRecords()}
			c.happens(r.Records, "pod")
			c.want.Revision = "new"
			got := status.Config{Revision: "new"}
			r.countPod(&got, "pod")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfSeveralProblemsTheSameIsToldInAnyOrder(t *testing.T) {
	r := &ConnectionPoolReconciler{Records: NewRecords()}
	for pod, problem := range map[types.UID]string{"a": "the second", "b": "a first", "c": ""} {
		r.Records.SetAck(pod, contract.Status{Problem: problem}, time.Now())
	}
	for _, order := range [][]types.UID{{"a", "b", "c"}, {"c", "b", "a"}} {
		var c status.Config
		for _, pod := range order {
			r.countPod(&c, pod)
		}
		if c.Problem != "a first" {
			t.Errorf("told %q", c.Problem)
		}
	}
}
