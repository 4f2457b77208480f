// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/budget"
	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/metrics"
)

const (
	// lendInterval is how often pods are asked for what they have use for, where
	// several pools could lend to one another.
	lendInterval = time.Second
	// lookInterval is how often they are asked where there is nobody to lend to.
	lookInterval = 10 * time.Second
	// askedAtOnce bounds the questions of one pass that are on their way.
	askedAtOnce = 32
)

// pollInterval is how often every pod of a server is asked.
func (s *sighting) pollInterval() time.Duration {
	if len(s.facts.Claims) > 1 {
		return lendInterval
	}
	return lookInterval
}

// ask has pods say how they are: those that owe an acknowledgement, and when it is
// time all that have a grant. No answer is no acknowledgement.
func (r *BudgetReconciler) ask(ctx context.Context, s *sighting) {
	everyone := r.Records.Poll(s.upstream, s.pollInterval(), s.now) || s.use.fresh
	p := &poll{keys: map[types.NamespacedName][]byte{}, turns: make(chan struct{}, askedAtOnce)}
	s.heard = map[string]bool{}
	for _, entry := range slices.Concat(s.ledger.Entries, s.strangers) {
		known, heard := r.Records.Ack(types.UID(entry.UID))
		if outdated(entry, known) {
			known, heard = contract.Status{}, false
		}
		if heard {
			p.mu.Lock() // Answers to earlier questions may be coming in already.
			s.acks[entry.UID] = known
			p.mu.Unlock()
		}
		owes := !settled(entry, known) || s.leaving(entry.UID) || s.turning(entry, known)
		if owes || everyone && entry.Granted > 0 {
			r.askOne(ctx, s, p, entry)
		}
	}
	p.wait.Wait()
	if everyone {
		r.noteUse(s)
	}
}

// poll is the questions of one pass.
type poll struct {
	keys  map[types.NamespacedName][]byte
	turns chan struct{}
	wait  sync.WaitGroup
	mu    sync.Mutex
}

// askOne sends one pod its question, if it can be asked.
func (r *BudgetReconciler) askOne(ctx context.Context, s *sighting, p *poll, entry budget.Entry) {
	uid, pod := types.UID(entry.UID), s.pods[entry.UID]
	if !running(pod) || !r.Records.Askable(uid, s.now) {
		return
	}
	pool := types.NamespacedName{Namespace: entry.Namespace, Name: entry.Pool}
	key := r.keyOf(ctx, p.keys, uid, pool)
	if key == nil {
		return
	}
	p.wait.Go(func() {
		p.turns <- struct{}{}
		defer func() { <-p.turns }()
		answer, err := r.Asker.Ask(ctx, pod.Status.PodIP, key)
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.Records.SetAsked(uid) {
			s.changed[pool] = true
		}
		if err != nil || answer.UID != entry.UID {
			r.noAnswer(ctx, uid, err) // Silence, or another pod that has the address now.
			return
		}
		s.acks[entry.UID], s.heard[entry.UID] = answer, true
		changed, refused := r.Records.SetAck(uid, answer, s.now)
		if changed {
			s.changed[pool] = true
		}
		if refused > 0 && s.serves(pool) {
			metrics.CountRefused(pool.Namespace, pool.Name, refused)
			r.lookAtRefusing(ctx, s.upstream, pool, s.now)
		}
	})
}

// serves reports whether a pool is one of the server's now.
func (s *sighting) serves(pool types.NamespacedName) bool {
	return slices.ContainsFunc(s.pools, func(p poolv1.ConnectionPool) bool { return client.ObjectKeyFromObject(&p) == pool })
}

// noAnswer notes why a pod gave none, where that says when and how to ask again.
func (r *BudgetReconciler) noAnswer(ctx context.Context, uid types.UID, err error) {
	refused := errors.Is(err, errWrongKey)
	if refused {
		r.Records.SetKey(uid, nil)
	}
	if refused || isTimeout(err) && ctx.Err() == nil {
		r.Records.Silent(uid, r.Clock.Now())
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// settled reports whether a pod has acknowledged all that its entry says.
func settled(entry budget.Entry, ack contract.Status) bool {
	return ack.UID == entry.UID && ack.Gen == entry.Gen && ack.Config == entry.Config && entry.Held == entry.Granted
}

// outdated reports whether a pod said that it had more than its entry allows it by
// now: another leader has heard newer since. Or the entry was changed by hand, which
// only a new answer can tell.
func outdated(entry budget.Entry, ack contract.Status) bool {
	return ack.Gen == entry.Gen && max(ack.Cap, ack.Current) > entry.Held
}

// turning is a pod that has yet to pause or to resume, once it has what tells it to.
func (s *sighting) turning(entry budget.Entry, ack contract.Status) bool {
	state, ours := s.states[poolOfEntry(entry)]
	return ours && entry.Granted > 0 && ack.Paused != (state == poolv1.PoolPaused)
}

// leaving is a pod on its way out: what it says changes without a grant.
func (s *sighting) leaving(uid string) bool {
	pod := s.pods[uid]
	return pod != nil && !pod.DeletionTimestamp.IsZero()
}

// keyOf is the key of a pod's pool: the one it was asked with before, else as its
// Secret says, read once a pass; nil when the pod can't be asked.
func (r *BudgetReconciler) keyOf(
	ctx context.Context, keys map[types.NamespacedName][]byte, uid types.UID, pool types.NamespacedName,
) []byte {
	if key := r.Records.Key(uid); key != nil {
		return key
	}
	key, read := keys[pool]
	if !read {
		var err error
		if key, err = statusKey(ctx, r.Live, pool.Namespace, pool.Name); err != nil {
			log.FromContext(ctx).V(1).Info("Pods can not be asked", "pool", klog.KRef(pool.Namespace, pool.Name), "why", err.Error())
		}
		keys[pool] = key
	}
	if key != nil {
		r.Records.SetKey(uid, key)
	}
	return key
}

// noteUse keeps what the clients of each pool have use for, where all its pods said
// so. Clients that wait need not wait for a pod that is lost: they have use for more in
// any case.
func (r *BudgetReconciler) noteUse(s *sighting) {
	use := map[types.NamespacedName][]budget.Usage{}
	silent := map[types.NamespacedName]bool{}
	for _, entry := range s.ledger.Entries {
		pool := types.NamespacedName{Namespace: entry.Namespace, Name: entry.Pool}
		switch ack := s.acks[entry.UID]; {
		case s.heard[entry.UID]:
			use[pool] = append(use[pool], budget.Usage{Peak: ack.Peak, Starved: ack.Starved})
		case entry.Granted > 0 && !s.leaving(entry.UID):
			silent[pool] = true
		}
	}
	for i := range s.pools {
		pool := client.ObjectKeyFromObject(&s.pools[i])
		if sum := budget.UsageOf(use[pool]); len(use[pool]) > 0 && (!silent[pool] || sum.Starved > 0) {
			r.Records.NoteUse(pool, s.now, sum)
		}
	}
}

// readNeeds has each claim say what its pool needs.
func (r *BudgetReconciler) readNeeds(s *sighting) {
	for i := range s.facts.Claims {
		c := &s.facts.Claims[i]
		c.Need, _ = r.Records.Demand(types.NamespacedName{Namespace: c.Key.Namespace, Name: c.Key.Name})
	}
}
