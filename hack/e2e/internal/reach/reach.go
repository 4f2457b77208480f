// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package reach dials Services of a cluster from outside of it, by the names that
// they have inside. It goes straight to a Service's address where this machine has
// a route to it, as to the local cluster, and through the API server where it has
// none. It changes nothing in the cluster.
package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// routeTimeout is how long a Service may take to answer before this machine counts
// as having no route to it.
const routeTimeout = 2 * time.Second

// knownFor is how long a Service's address is not asked for again: hundreds of clients
// come at once, and a Service that is made anew has another.
const knownFor = 5 * time.Second

// found is a Service's address at a time.
type found struct {
	ip string
	at time.Time
}

// Dialer dials by names such as shop-pool.demo.svc. Its methods may be called at
// once from many goroutines.
type Dialer struct {
	client client.Client
	config *rest.Config
	direct bool

	mu        sync.Mutex
	addresses map[types.NamespacedName]found
	tunnels   map[types.NamespacedName]*tunnel
	turn      int
}

// New returns a Dialer that goes straight to Services if the API server's own can
// be reached that way, and else through the API server.
func New(ctx context.Context, c client.Client, config *rest.Config) (*Dialer, error) {
	var api corev1.Service
	if err := c.Get(ctx, types.NamespacedName{Namespace: "default", Name: "kubernetes"}, &api); err != nil {
		return nil, fmt.Errorf("reading the API server's Service: %w", err)
	}
	d := NewForwarding(c, config)
	d.direct = answers(ctx, net.JoinHostPort(api.Spec.ClusterIP, "443"))
	return d, nil
}

// NewForwarding returns a Dialer that always goes through the API server.
func NewForwarding(c client.Client, config *rest.Config) *Dialer {
	return &Dialer{
		client: c, config: config,
		addresses: map[types.NamespacedName]found{}, tunnels: map[types.NamespacedName]*tunnel{},
	}
}

// Way says in words how connections go.
func (d *Dialer) Way() string {
	if d.direct {
		return "straight to the Service's address"
	}
	return "forwarded by the API server to the Service's pods, for this machine has no route to Services"
}

// DialContext connects to host:port; a host outside of the cluster is dialled as it stands.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	service, inside := serviceOf(host)
	if !inside {
		return dial(ctx, network, address)
	}
	if !d.direct {
		return d.forward(ctx, service, port)
	}
	ip, err := d.clusterIP(ctx, service)
	if err != nil {
		return nil, err
	}
	return dialInTurn(ctx, network, net.JoinHostPort(ip, port))
}

// serviceOf reads NAME.NAMESPACE.svc and NAME.NAMESPACE.svc.DOMAIN.
func serviceOf(host string) (types.NamespacedName, bool) {
	labels := strings.Split(host, ".")
	if len(labels) < 3 || labels[2] != "svc" {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: labels[1], Name: labels[0]}, true
}

func (d *Dialer) clusterIP(ctx context.Context, key types.NamespacedName) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.addresses[key]; time.Since(known.at) < knownFor {
		return known.ip, nil
	}
	var service corev1.Service
	if err := d.client.Get(ctx, key, &service); err != nil {
		return "", fmt.Errorf("reading service %s: %w", key, err)
	}
	d.addresses[key] = found{service.Spec.ClusterIP, time.Now()}
	return service.Spec.ClusterIP, nil
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

// answers reports whether somebody answers at the address, be it with a refusal.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil || errors.Is(err, syscall.ECONNREFUSED)
}
