// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/poolfleet/poolfleet/controllers"
)

// mutant is one thing that is broken on purpose. The zero value is none.
type mutant struct {
	// client, live and asker come between a leader and the world.
	client func(*leader, client.Client) client.Client
	live   func(*leader, client.Reader) client.Reader
	asker  func(*leader, controllers.StatusAsker) controllers.StatusAsker
	// cachedLive has live reads answered from the cache.
	cachedLive bool
	// deaf forgets that a look at the server failed.
	deaf bool

	// anyUID has pods obey another's grant, anyGen an older one.
	anyUID, anyGen bool
	// zeroRuns has PgBouncer run with a limit of 0.
	zeroRuns bool
	// keepsNothing forgets over a restart what a drain gave back.
	keepsNothing bool

	// noAdmission lets every login pass.
	noAdmission bool
}
