// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/load"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// queryCanceled is the SQLSTATE of a query that was cancelled on request.
const queryCanceled = "57014"

// cancels sends 200 cancel requests through the Service, each on a connection of its
// own that may reach any of the poolers, and checks that each ended its query.
func (f *fleet) cancels(t *testing.T) {
	t.Helper()
	eventually(t, "every pooler knows the others", func() error { return f.knowEachOther(t) })
	config, err := load.Config(string(f.published(t, f.pool).Data["DATABASE_URL"]), f.dialer.DialContext)
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int64
	var clients sync.WaitGroup
	for range 5 {
		clients.Go(func() {
			for i := range 40 {
				if err := f.cancelled(t.Context(), config); err != nil {
					t.Errorf("request %d of a client: %v", i, err)
					continue
				}
				reached.Add(1)
			}
		})
	}
	clients.Wait()
	if n := reached.Load(); n != 200 {
		t.Errorf("%d of 200 cancel requests reached their query", n)
	}
}

// knowEachOther is an error while a pooler has not been told of all others.
func (f *fleet) knowEachOther(t *testing.T) error {
	t.Helper()
	pods := f.readyPods(t)
	if len(pods) != 3 {
		return fmt.Errorf("%d poolers are ready", len(pods))
	}
	for _, pod := range pods {
		for _, other := range pods {
			if err := knows(pod, other); err != nil {
				return err
			}
		}
	}
	return nil
}

// cancelled starts a query, has it cancelled once the server runs it, and checks that
// it was.
func (f *fleet) cancelled(ctx context.Context, config *pgconn.Config) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	name, answered := rand.Text(), make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "select pg_sleep(80) /* "+name+" */").ReadAll()
		answered <- err
	}()
	if err := f.runs(ctx, name); err != nil {
		return err
	}
	if err := conn.CancelRequest(ctx); err != nil {
		return fmt.Errorf("sending a cancel request: %w", err)
	}
	var answer *pgconn.PgError
	if err := <-answered; !errors.As(err, &answer) || answer.Code != queryCanceled {
		return errors.Join(errors.New("a cancelled query was not cancelled"), err)
	}
	return nil
}

// runs returns once the server runs a query of that name. It looks at the server by
// itself, and that a look does not succeed says nothing of the pool.
func (f *fleet) runs(ctx context.Context, name string) error {
	var err error
	for ctx.Err() == nil {
		var found string
		found, err = f.query(ctx, f.server.AdminURL(),
			"select count(*)::text from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%"+name+"%'")
		if err == nil && found == "1" {
			return nil
		}
	}
	return errors.Join(ctx.Err(), err)
}

// knows is an error unless a pooler was told of another one as its peer.
func knows(pod, other corev1.Pod) error {
	peers, err := contract.DecodePeers(pod.Annotations[poolv1.PeersAnnotation])
	if err != nil {
		return err
	}
	if peers.ID == 0 {
		return fmt.Errorf("pod %s has no number", pod.Name)
	}
	if pod.UID == other.UID {
		return nil
	}
	for _, host := range peers.Others {
		if host == other.Status.PodIP {
			return nil
		}
	}
	return fmt.Errorf("pod %s does not know %s", pod.Name, other.Name)
}
