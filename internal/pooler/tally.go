// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import "github.com/poolfleet/poolfleet/internal/pgbouncer"

// tally counts since the container started.
type tally struct {
	starts, ends           int64
	reloads, failedReloads int64
	// orphaned are server connections that a PgBouncer which ended by itself had when
	// it was last asked: nobody has closed them.
	orphaned int64
}

// reloaded counts a RELOAD and returns its error.
func (t *tally) reloaded(err error) error {
	t.reloads++
	if err != nil {
		t.failedReloads++
	}
	return err
}

// ended counts a PgBouncer that ended by itself; last is nil where it did not answer.
func (t *tally) ended(last *pgbouncer.Sample) {
	t.ends++
	if last != nil {
		t.orphaned += int64(sum(connections(*last)))
	}
}
