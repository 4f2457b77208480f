// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/edgename"
)

func TestAnAuthorityTooLongForAStatusIsLeftOut(t *testing.T) {
	for length, want := range map[int]int{65536: 65536, 65537: 0} {
		if got := len(shownAuthority(strings.Repeat("x", length))); got != want {
			t.Errorf("of %d bytes %d are shown", length, got)
		}
	}
}

func TestHowAPoolStandsWithTheGatewayIsSaidWithWhatToDo(t *testing.T) {
	born := time.Unix(1_700_000_000, 0)
	own := edgename.Claim{Namespace: "web", Name: "shop", Label: "shop-web", Created: born}
	older := edgename.Claim{Namespace: "old", Name: "till", Label: "shop-web", Created: born.Add(-time.Second)}
	dotted := edgename.Claim{Namespace: "web", Name: "sh.op", Label: "sh.op-web", Created: born}
	for name, test := range map[string]struct {
		domain       string
		claims       []edgename.Claim
		reason, said string
	}{
		"there is no gateway":           {"", []edgename.Claim{own}, poolv1.ReasonNoGateway, "edge.enabled"},
		"an older pool has the name":    {"edge.example.com", []edgename.Claim{own, older}, poolv1.ReasonNameTaken, "old/till"},
		"the default name has a dot":    {"edge.example.com", []edgename.Claim{dotted}, poolv1.ReasonNameInvalid, "set spec.edge.name"},
		"it is the older, and has it":   {"edge.example.com", []edgename.Claim{older, own}, "", ""},
		"nobody else claims it at all":  {"edge.example.com", []edgename.Claim{own}, "", ""},
		"no gateway comes before names": {"", []edgename.Claim{dotted}, poolv1.ReasonNoGateway, "--edge-domain"},
	} {
		got := atGateway(test.claims, test.domain)
		switch refused := got.Refused; {
		case test.reason == "" && (refused != nil || got.Host != "shop-web.edge.example.com" || got.Name != "shop-web"):
			t.Errorf("%s: %+v, refused %v", name, got, refused)
		case test.reason != "" && (refused == nil || refused.Reason != test.reason || !strings.Contains(refused.Message, test.said) || got.Host != ""):
			t.Errorf("%s: %+v, refused %v", name, got, refused)
		}
	}
}
