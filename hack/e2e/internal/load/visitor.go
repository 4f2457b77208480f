// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Visitor is someone with psql: one who connects to the server itself, asks
// something and leaves, again and again.
type Visitor struct {
	Name string
	URL  string
	Dial pgconn.DialFunc
	// Failed is told of every visit that failed.
	Failed func(Failure)

	// Visits counts those that did not.
	Visits atomic.Int64
}

// Run returns once ctx has ended.
func (v *Visitor) Run(ctx context.Context) {
	for ctx.Err() == nil {
		from := time.Now()
		if err := v.visit(context.WithoutCancel(ctx)); err != nil {
			v.Failed(Failure{Client: v.Name, Doing: "connecting to the server itself", From: from, Until: time.Now(), Err: err})
		} else {
			v.Visits.Add(1)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (v *Visitor) visit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	config, err := Config(v.URL, v.Dial)
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "select 1").ReadAll()
	return err
}
