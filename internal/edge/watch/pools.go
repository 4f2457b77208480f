// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edgename"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// defaultConcurrency is that of a pool whose spec.edge.maxConcurrency says nothing.
const defaultConcurrency = 1000

// Pools are those that the gateway serves, by their labels. Pools that do not ask for
// it, and those whose label an older one has, are not.
func Pools(all []poolv1.ConnectionPool) map[string]edge.Pool {
	asking := map[edgename.Claim]*poolv1.ConnectionPool{}
	var claims []edgename.Claim
	for i := range all {
		if pool := &all[i]; pool.Spec.Edge.Mode == poolv1.EdgeEnabled {
			claim := claimOf(pool)
			asking[claim], claims = pool, append(claims, claim)
		}
	}
	served := map[string]edge.Pool{}
	for label, holder := range edgename.Holders(claims) {
		served[label] = poolOf(asking[holder], label)
	}
	return served
}

func claimOf(pool *poolv1.ConnectionPool) edgename.Claim {
	return edgename.Claim{
		Namespace: pool.Namespace, Name: pool.Name, Created: pool.CreationTimestamp.Time,
		Label: edgename.Label(pool.Namespace, pool.Name, pool.Spec.Edge.Name),
	}
}

func poolOf(pool *poolv1.ConnectionPool, label string) edge.Pool {
	host := manifests.ServiceHost(pool.Name, pool.Namespace)
	served := edge.Pool{
		Namespace: pool.Namespace, Name: pool.Name, Label: label,
		Address:        net.JoinHostPort(host, strconv.Itoa(contract.ClientPort)),
		TLS:            pool.Spec.TLS.Mode != poolv1.ClientTLSDisable,
		Authority:      pool.Status.TLS.Authority,
		Session:        pool.Spec.Mode == poolv1.PoolModeSession,
		Unready:        unready(pool),
		MaxConcurrency: int(cmp.Or(pool.Spec.Edge.MaxConcurrency, defaultConcurrency)),
	}
	// A certificate from elsewhere may be good for the name outside the cluster alone.
	if names := pool.Status.TLS.DNSNames; len(names) > 0 && !slices.Contains(names, host) {
		served.ServerName = pool.Spec.Service.ExternalHostname
	}
	return served
}

// unready says in words that strangers may read why a pool serves nobody. A pool that is
// paused does: its clients wait, as they do at its poolers.
func unready(pool *poolv1.ConnectionPool) string {
	if mode := pool.Spec.TLS.Mode; mode == poolv1.ClientTLSVerifyCA || mode == poolv1.ClientTLSVerifyFull {
		return "its poolers ask for a client certificate, and the gateway has none to show"
	}
	ready := meta.FindStatusCondition(pool.Status.Conditions, poolv1.ConditionReady)
	switch {
	case ready == nil:
		return "it is being set up"
	case ready.Status == metav1.ConditionTrue || poolv1.Holds(ready.Reason):
		return ""
	}
	return wordsOf(ready.Reason) + " (" + ready.Reason + ")"
}

// wordsOf are for the reasons that Ready can have. The condition's own message may name
// the server, which is not for strangers.
func wordsOf(reason string) string {
	switch reason {
	case poolv1.ReasonScaledToZero:
		return "it is scaled to no poolers"
	case poolv1.ReasonSecretMissing, poolv1.ReasonKeyMissing, poolv1.ReasonInvalidURL:
		return "its server is not known"
	case poolv1.ReasonHostUnknown, poolv1.ReasonUnreachable:
		return "its server can not be reached"
	case poolv1.ReasonInsufficientBudget, poolv1.ReasonWaitingForRelease, poolv1.ReasonNamespaceNotAllowed:
		return "its server has no connections to spare"
	case poolv1.ReasonRollingOut, poolv1.ReasonUnavailable, poolv1.ReasonNameConflict, poolv1.ReasonRefused:
		return "its poolers do not run"
	case poolv1.ReasonPending, poolv1.ReasonReloading:
		return "it is being set up"
	}
	return "its server can not be used"
}
