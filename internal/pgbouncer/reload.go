// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import "errors"

// ReloadsTo returns an error where RELOAD does not make another configuration of this
// one: PgBouncer keeps the user of a database entry that no longer has one, so that
// every client that is looked up would be that user at the server.
// Source: "losing forced user not supported" in PgBouncer's loader.c.
func (c Config) ReloadsTo(next Config) error {
	if (c.Server.User == "") != (next.Server.User == "") {
		return errors.New("whether clients are their own roles at the server can not be changed in a running PgBouncer: new pods are on their way")
	}
	return nil
}
