// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Pool is a pool that the gateway serves.
type Pool struct {
	// Namespace and Name are the ConnectionPool's.
	Namespace string
	Name      string
	// Label is the pool's under the gateway's domain.
	Label string
	// Address is the pooled Service's, as host:port.
	Address string
	// TLS is whether its poolers speak TLS; the gateway then does, too.
	TLS bool
	// Authority is what their certificate comes from, in PEM. Where it is empty, TLS
	// alone would not tell the pooler from another; SCRAM does, for a pooler knows the
	// password's verifier (RFC 5802).
	Authority string
	// ServerName is the name that their certificate is good for, where that is not the
	// host of Address.
	ServerName string
	// Unready says why the pool serves nobody; it is empty where it does.
	Unready string
	// Session is whether a client has a server connection to itself for as long as it is
	// connected (PgBouncer's pool_mode session). The gateway then keeps no connection
	// between requests: it would take a server connection from others, and carry what one
	// request set to the next.
	Session bool
	// MaxConcurrency is how many requests and open WebSockets are served at once.
	MaxConcurrency int
}

// Ready is nil, or says why the pool serves nobody as a *Refusal.
func (p Pool) Ready() error {
	if p.Unready == "" {
		return nil
	}
	return &Refusal{
		Status: http.StatusServiceUnavailable, Code: codeNotNow, RetryAfter: time.Second,
		Message: fmt.Sprintf("pool %s is not ready: %s", p.Label, p.Unready),
		Hint:    "The pool's conditions say more.",
	}
}

// Directory finds pools by the host that a client names. The zero value knows none,
// and is safe for concurrent use.
type Directory struct {
	// Domain is the gateway's own, in lower case: pools are LABEL.DOMAIN.
	Domain string

	pools atomic.Pointer[map[string]Pool]
}

// Replace makes these, keyed by their labels, the only pools.
func (d *Directory) Replace(pools map[string]Pool) { d.pools.Store(&pools) }

// all are the pools by their labels.
func (d *Directory) all() map[string]Pool {
	if pools := d.pools.Load(); pools != nil {
		return *pools
	}
	return nil
}

// Find returns the pool that a host, with or without a port, names. The error is a
// Refusal, alike for a pool that is not there and one that did not ask to be served:
// strangers learn nothing of what runs.
func (d *Directory) Find(host string) (Pool, error) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	label, domain, _ := strings.Cut(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	if pool, served := d.all()[label]; served && domain == d.Domain {
		return pool, nil
	}
	return Pool{}, &Refusal{
		Status: http.StatusNotFound, Code: codeConnectionRejected,
		Message: fmt.Sprintf("the gateway serves no pool at %q", host),
		Hint:    "The host is NAME." + d.Domain + ", as the pool's status.urls.edge has it; spec.edge.mode must be Enabled.",
	}
}
