// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/poolfleet/poolfleet/internal/contract"
)

func TestAServerThatRefusesGrantedLoginsIsLookedAtBeforeItsTime(t *testing.T) {
	host, ns := server(t, 100), namespace(t)
	one, two := serve(t, ns, "refused", host), serve(t, ns, "beside", host)
	first, second := podOf(t, one, "refused-a"), podOf(t, two, "beside-a")
	grantOf(t, first, 46)
	grantOf(t, second, 46)
	seen := servers.looksAt(host)

	// The server restarted with less room. Nothing else would tell before a minute is over.
	servers.set(host+":5432", answer{observation: observed(host, 60)})
	refused := int64(0)
	pods.setSaid(first, func(s *contract.Status) { refused++; s.Refused = refused })
	grantOf(t, first, 27)
	grantOf(t, second, 27)
	if servers.looksAt(host) == seen {
		t.Error("the server was not looked at again")
	}
	pods.setSaid(first, nil)
}
