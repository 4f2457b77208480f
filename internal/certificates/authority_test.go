// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package certificates_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolfleet/poolfleet/internal/certificates"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

const day = 24 * time.Hour

func authority(t *testing.T, at time.Time) certificates.Authority {
	t.Helper()
	a, err := certificates.NewAuthority(rand.Reader, at)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a certificates.Authority, at time.Time, names ...string) certificates.Certificate {
	t.Helper()
	c, err := a.Issue(rand.Reader, names, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// accepts verifies as a client does that trusts one root.
func accepts(root, leaf *x509.Certificate, name string, at time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: at})
	return err
}

func TestClientsThatTrustTheAuthorityAcceptItsCertificates(t *testing.T) {
	a := authority(t, now)
	leaf := issue(t, a, now, "shop-pool", "shop-pool.team.svc").Leaf
	for name, at := range map[string]time.Time{"shop-pool": now, "shop-pool.team.svc": now.Add(89 * day)} {
		if err := accepts(a.Certificate, leaf, name, at); err != nil {
			t.Errorf("%s at %s: %v", name, at, err)
		}
	}
	if accepts(a.Certificate, leaf, "other-pool", now) == nil {
		t.Error("another name is accepted")
	}
	if accepts(a.Certificate, leaf, "shop-pool", now.Add(91*day)) == nil {
		t.Error("it is accepted after 90 days")
	}
	if other := authority(t, now); other.Signed(leaf) || !a.Signed(leaf) || accepts(other.Certificate, leaf, "shop-pool", now) == nil {
		t.Error("the authority is not told from another")
	}
}

func TestARenewedAuthorityAndItsOldRootServeEachOthersCertificates(t *testing.T) {
	old := authority(t, now)
	later := old.RenewAt()
	if left := old.Certificate.NotAfter.Sub(later); left < 3*365*day {
		t.Errorf("the authority is due only %s before it ends", left)
	}
	before := issue(t, old, later, "shop-pool")
	renewed, err := old.Renew(rand.Reader, later)
	if err != nil {
		t.Fatal(err)
	}
	after := issue(t, renewed, later, "shop-pool")
	for name, err := range map[string]error{
		"the new root, an old certificate":  accepts(renewed.Certificate, before.Leaf, "shop-pool", later),
		"a copy of the old root, a new one": accepts(old.Certificate, after.Leaf, "shop-pool", later),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !renewed.Signed(before.Leaf) || !old.Signed(after.Leaf) {
		t.Error("a certificate is not known as the authority's own")
	}
	if got := renewed.Certificate.NotAfter.Sub(later); got < 9*365*day {
		t.Errorf("the new root lasts %s", got)
	}
}

func TestAnAuthorityIsReadFromItsSecret(t *testing.T) {
	a := authority(t, now)
	read, err := certificates.ParseAuthority([]byte(a.Pair.Certificate), []byte(a.Pair.Key))
	if err != nil {
		t.Fatal(err)
	}
	if leaf := issue(t, read, now, "shop-pool").Leaf; !a.Signed(leaf) {
		t.Error("what was read signs otherwise than what was written")
	}
	leaf := issue(t, a, now, "shop-pool").Pair
	if _, err := certificates.ParseAuthority([]byte(leaf.Certificate), []byte(leaf.Key)); err == nil {
		t.Error("a server's certificate passes for an authority")
	}
}

func TestAnAuthorityThatExpiredSignsNothing(t *testing.T) {
	a := authority(t, now)
	nearEnd := a.Certificate.NotAfter.Add(-day)
	if leaf := issue(t, a, nearEnd, "shop-pool").Leaf; leaf.NotAfter.After(a.Certificate.NotAfter) {
		t.Error("a certificate outlives its authority")
	}
	_, err := a.Issue(rand.Reader, []string{"shop-pool"}, nearEnd.Add(2*day))
	if _, ok := errors.AsType[*certificates.Error](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestAFleetMadeAtOnceIsNotRenewedAtOnce(t *testing.T) {
	leaf := issue(t, authority(t, now), now, "shop-pool").Leaf
	var due []time.Time
	for i := range 200 {
		due = append(due, certificates.RenewAt(leaf, fmt.Sprintf("team/pool-%d", i)))
	}
	slices.SortFunc(due, time.Time.Compare)
	if first := due[0]; first.Before(now.Add(50 * day)) {
		t.Errorf("the first is due at %s, long before two thirds of its life", first)
	}
	if last := due[len(due)-1]; last.After(now.Add(60 * day)) {
		t.Errorf("the last is due at %s, after two thirds of its life", last)
	}
	for i := range due[20:] {
		if due[i+20].Sub(due[i]) < time.Hour {
			t.Fatalf("20 of 200 are due within an hour, at %s", due[i])
		}
	}
	if again := certificates.RenewAt(leaf, "team/pool-0"); !slices.ContainsFunc(due, again.Equal) {
		t.Error("a name has another moment each time")
	}
}

func TestNamesOfAService(t *testing.T) {
	got := certificates.ServiceNames("shop-pool", "team", "corp.example", "db.example.com")
	want := []string{
		"db.example.com", "shop-pool", "shop-pool.team", "shop-pool.team.svc",
		"shop-pool.team.svc.cluster.local", "shop-pool.team.svc.corp.example",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if got := certificates.ServiceNames("shop-pool", "team", "cluster.local", "shop-pool"); len(got) != 4 {
		t.Errorf("a name stands twice among %q", got)
	}
}

func TestTheClustersDomainIsReadFromAPodsResolvConf(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"as the kubelet writes it": {"search poolfleet-system.svc.corp.example svc.corp.example corp.example\nnameserver 10.96.0.10\n", "corp.example"},
		"with a dot at its end":    {"nameserver 10.96.0.10\nsearch poolfleet-system.svc.cluster.local.\n", "cluster.local"},
		"outside of a cluster":     {"search example.com\nnameserver 192.0.2.1\n", ""},
		"of another namespace":     {"search default.svc.cluster.local\n", ""},
		"empty":                    {"", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := certificates.ClusterDomain(c.text, "poolfleet-system"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
