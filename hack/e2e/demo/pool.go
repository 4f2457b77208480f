// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed" // holds the manifest
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

//go:embed manifests/pool.yaml
var poolManifest string

func (d *demo) applyPool(ctx context.Context) (string, error) {
	return poolManifest, d.tools.KubectlApply(ctx, poolManifest)
}

func (d *demo) pool(ctx context.Context) (*poolv1.ConnectionPool, error) {
	var pool poolv1.ConnectionPool
	if err := d.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: poolName}, &pool); err != nil {
		return nil, fmt.Errorf("reading the pool: %w", err)
	}
	return &pool, nil
}

// awaitPool tells every change of what the pool says of itself until it is Ready
// and all its poolers are there.
func (d *demo) awaitPool(ctx context.Context) (string, error) {
	deadline := time.Now().Add(d.wait)
	for said := ""; ; {
		pool, err := d.pool(ctx)
		if err != nil {
			return "", err
		}
		ready := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionReady)
		if settled(pool) {
			return ready.Message, nil
		}
		if ready != nil && ready.Message != said {
			said = ready.Message
			fmt.Fprint(d.out, indent(ready.Reason+": "+said))
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("it is not Ready after %s:\n%s", d.wait, unmet(pool))
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// settled reports whether clients can connect and nothing is still on its way.
func settled(pool *poolv1.ConnectionPool) bool {
	ready := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == pool.Generation &&
		!meta.IsStatusConditionTrue(pool.Status.Conditions, poolv1.ConditionReconciling)
}

// unmet lists the conditions that keep a pool from being Ready.
func unmet(pool *poolv1.ConnectionPool) string {
	if len(pool.Status.Conditions) == 0 {
		return "      it has no status: does the operator run? kubectl -n poolfleet-system logs deploy/poolfleet-manager"
	}
	var lines []string
	for _, c := range pool.Status.Conditions {
		progress := c.Type == poolv1.ConditionReconciling || c.Type == poolv1.ConditionStalled
		if c.Status != metav1.ConditionTrue && !progress {
			lines = append(lines, fmt.Sprintf("      %s is %s, %s: %s", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	return strings.Join(lines, "\n")
}
