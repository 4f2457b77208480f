// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
)

// proof is what became of clients that connected at once by one URL.
type proof struct {
	way string
	load.Result
	// seen are the connections that the server had meanwhile.
	seen load.Seen
}

// prove has the same clients connect by the direct and through the pooled URL, both
// read from where an application would read them. The direct ones come first: a
// pool keeps its connections for a while, and they would meet a server that is
// nearly full.
func (d *demo) prove(ctx context.Context) (string, error) {
	pool, err := d.pool(ctx)
	if err != nil {
		return "", err
	}
	var secret corev1.Secret
	key := types.NamespacedName{Namespace: namespace, Name: pool.Status.Binding.Name}
	if err := d.client.Get(ctx, key, &secret); err != nil {
		return "", fmt.Errorf("reading the published secret: %w", err)
	}
	for _, way := range []struct{ name, key string }{
		{"straight to the server", "DIRECT_URL"}, {"through the pool", "DATABASE_URL"},
	} {
		result, err := d.clientsAtOnce(ctx, way.name, string(secret.Data[way.key]))
		if err != nil {
			return "", err
		}
		d.results = append(d.results, result)
	}
	if pooled := d.results[1]; pooled.Served < d.clients {
		return "", fmt.Errorf("the pool served %d of %d clients, refused %d and failed %d, one of them so: %w",
			pooled.Served, d.clients, pooled.Refused, pooled.Failed, pooled.Err)
	}
	return "", nil
}

// clientsAtOnce runs one half of the proof. The watching connection is open before
// the first client comes, or it would be refused too.
func (d *demo) clientsAtOnce(ctx context.Context, way, url string) (proof, error) {
	watch, err := load.Watch(ctx, d.server.AdminURL(), d.dialer.DialContext, "")
	if err != nil {
		return proof{}, err
	}
	result, err := load.Clients{
		URL: url, Dial: d.dialer.DialContext, Count: d.clients,
		Statement: "select pg_sleep(0.1)", Rounds: 3, Timeout: time.Minute,
	}.Run(ctx)
	seen, watched := watch.Stop(ctx)
	return proof{way: way, Result: result, seen: seen}, errors.Join(err, watched)
}
