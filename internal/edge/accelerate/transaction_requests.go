// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/peers"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

const (
	transactionPath  = "/transaction/"
	startPath        = transactionPath + "start"
	transactionIDLen = 200
)

// transactionCall is an operation on a transaction.
type transactionCall struct {
	// replica and name make the transaction's ID.
	replica, name string
	operation     string
}

// readTransactionPath parses /transaction/ID/OPERATION.
func readTransactionPath(path string) (transactionCall, bool) {
	rest, ok := strings.CutPrefix(path, transactionPath)
	id, operation, more := strings.Cut(rest, "/")
	if !ok || !more || id == "" || operation != "query" && operation != "commit" && operation != "rollback" {
		return transactionCall{}, false
	}
	replica, name := splitID(id)
	return transactionCall{replica: replica, name: name, operation: operation}, true
}

// splitID reads an ID as idOf makes it. Any other text is an ID that is not known.
func splitID(id string) (replica, name string) {
	if cut := strings.LastIndexByte(id, '-'); cut >= 0 && len(id) <= transactionIDLen {
		return id[:cut], id[cut+1:]
	}
	return "", ""
}

func (h *Handler) idOf(tx *transaction) string { return nameIn(h.Replicas) + "-" + tx.name }

// startOptions are a transaction's, with times in milliseconds.
type startOptions struct {
	Timeout   *float64 `json:"timeout"`
	MaxWait   *float64 `json:"maxWait"`
	Isolation *string  `json:"isolationLevel"`
	Outer     *string  `json:"newTxId"`
}

// begin is the statement that starts the transaction.
func (o startOptions) begin() (string, error) {
	if o.Isolation == nil {
		return "BEGIN", nil
	}
	switch level := *o.Isolation; level {
	case "READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE":
		return "BEGIN ISOLATION LEVEL " + level, nil
	case "SNAPSHOT":
		return "", transactionError("Invalid isolation level: "+level, map[string]any{"isolationLevel": level})
	}
	return "", &queryplan.Error{Status: http.StatusBadRequest, Code: codeInvalidParameters, Message: "the isolationLevel is none that there is"}
}

// check demands what Prisma's transaction manager does, and bounds it.
func (o startOptions) check(limits TransactionLimits) (timeout, maxWait time.Duration, err error) {
	timeout = limits.Timeout
	if o.Timeout != nil {
		timeout = atMost(*o.Timeout, limits.Timeout)
	}
	if timeout <= 0 {
		return 0, 0, transactionError("timeout is required", nil)
	}
	if o.MaxWait != nil {
		maxWait = atMost(*o.MaxWait, limits.MaxWait)
	}
	if maxWait <= 0 {
		return 0, 0, transactionError("maxWait is required", nil)
	}
	return timeout, maxWait, nil
}

func atMost(milliseconds float64, most time.Duration) time.Duration {
	return time.Duration(math.Min(milliseconds*float64(time.Millisecond), float64(most)))
}

// startTransaction begins an interactive transaction, or one in another.
func (h *Handler) startTransaction(ctx context.Context, v *visit) error {
	begun := time.Now()
	conn, err := h.login(ctx, v.Session) // Before any of the body: a stranger is turned away.
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			conn.Release(ctx)
		}
	}()
	options, err := h.readStart(v)
	if err != nil {
		return err
	}
	if options.Outer != nil && *options.Outer != "" {
		conn.Release(ctx)
		return h.nestTransaction(ctx, v, options)
	}
	tx, err := h.open(ctx, v, conn, options, begun)
	if err != nil {
		return err
	}
	kept = true
	if ctx.Err() != nil { // Nobody will hear of it.
		tx.abandon(ctx, rolledBack)
		return context.Cause(ctx)
	}
	v.startedTransaction(h.idOf(tx))
	return nil
}

func (v *visit) startedTransaction(id string) {
	v.w.Header().Set("Prisma-Transaction-Id", id)
	v.object, _ = json.Marshal(map[string]string{"id": id}) // Text can be encoded.
}

func (h *Handler) readStart(v *visit) (options startOptions, err error) {
	if _, err := readVersion(v.Header); err != nil {
		return options, err
	}
	if v.read, err = h.readBody(v); err != nil {
		return options, err
	}
	if err := json.Unmarshal(v.read, &options); err != nil {
		return options, &queryplan.Error{Status: http.StatusBadRequest, Code: codeInvalidParameters, Message: "the body is no JSON object that a transaction starts with"}
	}
	return options, nil
}

// open begins a transaction within the time that it may wait, counted from when the
// request came. The connection is the transaction's from then on.
func (h *Handler) open(ctx context.Context, v *visit, conn *edge.Conn, options startOptions, begun time.Time) (*transaction, error) {
	timeout, maxWait, err := options.check(h.Transactions.Limits)
	if err != nil {
		return nil, err
	}
	begin, err := options.begin()
	if err != nil {
		return nil, err
	}
	leave, err := h.Transactions.sit(v.Pool, v.Caller)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithDeadlineCause(ctx, begun.Add(maxWait), errTooLate)
	defer stop()
	if _, err := conn.Query(ctx, begin, nil, 0); err != nil {
		leave()
		return nil, err
	}
	return h.Transactions.start(ctx, conn, h.Transactions.ownerOf(v.Session), timeout, leave), nil
}

var errTooLate = transactionError("Unable to start a transaction in the given time.", nil)

// nestTransaction begins a transaction in one that is open.
func (h *Handler) nestTransaction(ctx context.Context, v *visit, options startOptions) error {
	replica, name := splitID(*options.Outer)
	return h.inTransaction(ctx, v, transactionCall{replica: replica, name: name, operation: "start"}, func(tx *transaction) error {
		if err := tx.use(ctx, "start", tx.nest); err != nil {
			return err
		}
		v.startedTransaction(h.idOf(tx))
		return nil
	})
}

// inTransaction finds the transaction that a request is for, here or at another replica.
func (h *Handler) inTransaction(ctx context.Context, v *visit, call transactionCall, do func(*transaction) error) error {
	if call.replica != nameIn(h.Replicas) {
		forwarded, err := h.forward(v, call.replica)
		if forwarded {
			return errForwarded
		}
		return h.withoutTransaction(ctx, v, err)
	}
	tx, err := h.Transactions.find(call.name, h.Transactions.ownerOf(v.Session), call.operation)
	if err != nil {
		return h.withoutTransaction(ctx, v, err)
	}
	return do(tx)
}

// withoutTransaction says why there is no transaction. Who has no key that the pool takes
// is told no more than that.
func (h *Handler) withoutTransaction(ctx context.Context, v *visit, why error) error {
	conn, err := h.login(ctx, v.Session)
	if err != nil {
		return err
	}
	conn.Release(ctx)
	return why
}

// callTransaction answers /transaction/ID/OPERATION.
func (h *Handler) callTransaction(ctx context.Context, v *visit) error {
	call, _ := readTransactionPath(v.URL.Path)
	return h.inTransaction(ctx, v, call, func(tx *transaction) error {
		switch call.operation {
		case "commit":
			return h.closeIn(ctx, v, tx, call.operation, tx.commit)
		case "rollback":
			return h.closeIn(ctx, v, tx, call.operation, tx.rollback)
		}
		return h.queryIn(ctx, v, tx)
	})
}

func (h *Handler) queryIn(ctx context.Context, v *visit, tx *transaction) error {
	request, err := h.decode(v)
	if err != nil {
		return err
	}
	return tx.use(ctx, "query", func(ctx context.Context) error {
		return h.run(ctx, v, tx.conn, request, true)
	})
}

// closeIn ends a transaction. That is not to be undone because the client does not wait.
func (h *Handler) closeIn(ctx context.Context, v *visit, tx *transaction, operation string, do func(context.Context) error) error {
	ctx, stop := context.WithTimeoutCause(context.WithoutCancel(ctx), h.Limits.Timeout, h.tooSlow())
	defer stop()
	v.object = []byte(`{}`)
	return tx.use(ctx, operation, do)
}

// forward has the replica answer at which a transaction is. The error is why it did not.
func (h *Handler) forward(v *visit, replica string) (forwarded bool, err error) {
	if replica == "" || h.Replicas == nil {
		return false, notFound()
	}
	if v.read != nil {
		v.Body = io.NopCloser(bytes.NewReader(v.read))
	}
	err = h.Replicas.Forward(v.w, v.Request, replica)
	if errors.Is(err, peers.ErrUnknown) || errors.Is(err, peers.ErrLost) {
		return false, notFound() // It went with its replica.
	}
	return err == nil, err
}

// errForwarded is that somebody else has answered.
var errForwarded = errors.New("another replica has answered")
