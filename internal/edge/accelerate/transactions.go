// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/poolfleet/poolfleet/internal/edge"
)

// TransactionLimits bound interactive transactions. Each has to be set.
type TransactionLimits struct {
	// Timeout is how long one may be open, and MaxWait how long it may take to begin. A
	// client that asks for more gets so much.
	Timeout time.Duration
	MaxWait time.Duration
	// PerPool and PerCaller bound how many are open at this replica.
	PerPool   int
	PerCaller int
}

// DefaultTransactionLimits have the timeout of Prisma Accelerate's.
var DefaultTransactionLimits = TransactionLimits{Timeout: 15 * time.Second, MaxWait: 15 * time.Second, PerPool: 200, PerCaller: 100}

// rememberedOutcomes bounds the memory of transactions that have ended, which is for
// telling a client what became of them, to some 100 bytes each.
const rememberedOutcomes = 8192

// Transactions are the interactive transactions of this replica.
type Transactions struct {
	Limits TransactionLimits

	once sync.Once
	seed [sha256.Size]byte

	mu      sync.Mutex
	open    map[string]*transaction
	ended   *simplelru.LRU[string, outcome]
	pools   map[string]int
	callers map[netip.Addr]int
	seats   int
	ending  bool
	// empty is closed when the last one ends after ending was set.
	empty chan struct{}
}

// owner tells apart whose a transaction is. It is a hash, keyed with what only this
// process knows: nothing of a password outlives its request.
type owner [sha256.Size]byte

func (t *Transactions) ownerOf(s Session) owner {
	t.once.Do(func() { _, _ = rand.Read(t.seed[:]) }) // It never fails: see crypto/rand.Read.
	text := append(make([]byte, 0, 512), t.seed[:]...)
	for _, part := range []string{s.Pool.Namespace, s.Pool.Name, s.Login.User, s.Login.Password, s.Login.Database} {
		text = binary.BigEndian.AppendUint32(text, uint32(len(part))) //nolint:gosec // A header's part is shorter than 4 GiB.
		text = append(text, part...)
	}
	return sha256.Sum256(text)
}

// outcome is what became of a transaction.
type outcome struct {
	owner   owner
	state   state
	timeout time.Duration
	begun   time.Time
}

// sit counts a transaction that is to begin, until leave is called.
func (t *Transactions) sit(pool edge.Pool, caller netip.Addr) (leave func(), err error) {
	caller = edge.NetworkOf(caller)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ending:
		return nil, &edge.Refusal{Status: http.StatusServiceUnavailable, RetryAfter: time.Second, Message: "this replica of the gateway ends, and begins no more transactions"}
	case t.pools[pool.Label] >= t.Limits.PerPool:
		return nil, tooManyTransactions("pool "+pool.Label, t.Limits.PerPool, "--max-transactions")
	case t.callers[caller] >= t.Limits.PerCaller:
		return nil, tooManyTransactions("your address", t.Limits.PerCaller, "--caller-transactions")
	}
	if t.pools == nil {
		t.pools, t.callers = map[string]int{}, map[netip.Addr]int{}
	}
	t.pools[pool.Label]++
	t.callers[caller]++
	t.seats++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		decrease(t.pools, pool.Label)
		decrease(t.callers, caller)
		t.seats--
		t.tellEmpty()
	}), nil
}

func decrease[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

func tooManyTransactions(whose string, most int, flag string) *edge.Refusal {
	return &edge.Refusal{
		Status: http.StatusTooManyRequests, RetryAfter: time.Second,
		Message: fmt.Sprintf("%s has %d interactive transactions open, as many as it may", whose, most),
		Hint:    "Try again, or raise the gateway's " + flag + ".",
	}
}

// add makes a transaction one that can be found, under a new name.
func (t *Transactions) add(tx *transaction) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // It never fails: see crypto/rand.Read.
	tx.name = hex.EncodeToString(random[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[string]*transaction{}
	}
	t.open[tx.name] = tx
}

// find returns an owner's transaction. Where it is not open the error says what became
// of it, alike for one that never was and one of another owner.
func (t *Transactions) find(name string, whose owner, operation string) (*transaction, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tx, ok := t.open[name]; ok && tx.owner == whose {
		return tx, nil
	}
	if t.ended != nil {
		if was, ok := t.ended.Get(name); ok && was.owner == whose {
			return nil, was.error(operation)
		}
	}
	return nil, notFound()
}

// remove makes a transaction one that has ended.
func (t *Transactions) remove(tx *transaction, state state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, tx.name)
	if t.ended == nil {
		ended, err := simplelru.NewLRU[string, outcome](rememberedOutcomes, nil)
		if err != nil {
			panic(err) // The size is not positive: a mistake in this program.
		}
		t.ended = ended
	}
	t.ended.Add(tx.name, outcome{owner: tx.owner, state: state, timeout: tx.timeout, begun: tx.begun})
}

// Open is how many transactions are open, or about to be.
func (t *Transactions) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seats
}

// Drain begins no more transactions, and waits for those that are open. With the
// context it rolls back what is left.
func (t *Transactions) Drain(ctx context.Context) {
	t.mu.Lock()
	t.ending = true
	if t.empty == nil {
		t.empty = make(chan struct{})
		t.tellEmpty()
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return
	case <-ctx.Done():
	}
	for _, tx := range t.all() {
		tx.abandon(ctx, rolledBack)
	}
}

func (t *Transactions) all() []*transaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*transaction, 0, len(t.open))
	for _, tx := range t.open {
		all = append(all, tx)
	}
	return all
}

// tellEmpty is called with the lock.
func (t *Transactions) tellEmpty() {
	if t.empty == nil || t.seats > 0 {
		return
	}
	select {
	case <-t.empty:
	default:
		close(t.empty)
	}
}
