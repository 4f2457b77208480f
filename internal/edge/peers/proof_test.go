// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStrangerIsNotBelieved(t *testing.T) {
	s := newSite(t, shared(t))
	p := s.replica(two)
	proved := aRequest(t, "")
	key, err := s.replica(one).key()
	if err != nil {
		t.Fatal(err)
	}
	prove(proved, key, "192.0.2.7")
	said := proved.Header.Get(header)
	for name, test := range map[string]struct {
		header []string
		from   string
		change func(*http.Request)
	}{
		"an address alone":                {header: []string{"192.0.2.7"}, from: "127.0.0.2:1"},
		"a MAC that is none":              {header: []string{"192.0.2.7 x"}, from: "127.0.0.2:1"},
		"the MAC of another caller":       {header: []string{"192.0.2.8" + said[len("192.0.2.7"):]}, from: "127.0.0.2:1"},
		"two headers":                     {header: []string{said, said}, from: "127.0.0.2:1"},
		"from an address that is no peer": {header: []string{said}, from: "127.0.0.4:1"},
		"from this replica's address":     {header: []string{said}, from: "127.0.0.3:1"},
		"from no address":                 {header: []string{said}, from: "@"},
		"of another path":                 {header: []string{said}, from: "127.0.0.2:1", change: func(r *http.Request) { r.URL.Path += "x"; r.URL.RawPath = "" }},
		"of another host":                 {header: []string{said}, from: "127.0.0.2:1", change: func(r *http.Request) { r.Host = "other.edge.test" }},
		"of another method":               {header: []string{said}, from: "127.0.0.2:1", change: func(r *http.Request) { r.Method = http.MethodPut }},
	} {
		t.Run(name, func(t *testing.T) {
			r := aRequest(t, "")
			r.Header[header], r.RemoteAddr = test.header, test.from
			if test.change != nil {
				test.change(r)
			}
			if caller, believed := p.Accept(r); believed || caller.IsValid() || Forwarded(r) {
				t.Errorf("it is taken for %v", caller)
			}
		})
	}
	r := aRequest(t, "")
	r.Header[header], r.RemoteAddr = []string{said}, "[::ffff:127.0.0.2]:1"
	if caller, believed := p.Accept(r); !believed || caller != netip.MustParseAddr("192.0.2.7") || !Forwarded(r) {
		t.Error("the peer itself is not believed")
	}
}

func TestWithoutTLSAStrangersHeaderIsTakenOut(t *testing.T) {
	p := newSite(t, nil).replica(two)
	r := aRequest(t, "")
	r.Header.Set(header, "192.0.2.7")
	if _, believed := p.Accept(r); believed || Forwarded(r) {
		t.Error("it is taken for a peer's")
	}
}

func TestTheKeyOfACertificateBeforeIsStillBelieved(t *testing.T) {
	all := shared(t)
	s := newSite(t, all)
	key, err := s.replica(one).key()
	if err != nil {
		t.Fatal(err)
	}
	r := aRequest(t, "")
	prove(r, key, "192.0.2.7")
	r.RemoteAddr = "127.0.0.2:1"
	s.certificates = map[netip.Addr][]*tls.Certificate{two: {issue(t), all[one][0]}}
	if _, believed := s.replica(two).Accept(r); !believed {
		t.Error("a peer that has not read the new certificate is not believed")
	}
}

func TestAStrangersHeaderAsksNoDNS(t *testing.T) {
	s := newSite(t, shared(t))
	r := aRequest(t, "")
	r.Header.Set(header, "192.0.2.7 forged")
	s.replica(two).Accept(r)
	if s.asked.Load() != 0 {
		t.Error("it asked")
	}
}

func TestNamesAreOfAddressesAndHaveOneSpelling(t *testing.T) {
	for _, text := range []string{"10.0.0.8", "0.0.0.0", "255.255.255.255", "fd00::1", "::"} {
		address := netip.MustParseAddr(text)
		if got, ok := addressOf(nameOf(address)); !ok || got != address {
			t.Errorf("%s is read as %v", text, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range []string{"", "0", "01", nameOf(one), nameOf(netip.MustParseAddr("fd00::1")), "127.0.0.1", "vvvvvvvvvvvvvvvvvvvvvvvvvv"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if address, ok := addressOf(name); ok && nameOf(address) != name {
			t.Errorf("%q is another spelling of %v", name, address)
		}
	})
}

func TestReplicasThatComeAndGoAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		p := s.replica(one)
		expect := func(name netip.Addr, want error) {
			t.Helper()
			if _, err := p.find(t.Context(), nameOf(name)); !errors.Is(err, want) || (want == nil) != (err == nil) {
				t.Errorf("of %v it says %v", name, err)
			}
		}
		expect(two, nil)
		s.set(one, three)
		expect(two, nil) // It is known for a while.
		time.Sleep(pause)
		expect(three, nil)
		expect(two, ErrUnknown)
		s.set(one, two, three)
		time.Sleep(fresh)
		expect(two, nil)
	})
}

func TestWhileTheDNSIsAwayKnownReplicasAreUsedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		p := s.replica(one)
		if _, err := p.find(t.Context(), nameOf(two)); err != nil {
			t.Fatal(err)
		}
		away := errors.New("the DNS is away")
		s.failure.Store(&away)
		time.Sleep(lastResort - 1)
		if _, err := p.find(t.Context(), nameOf(two)); err != nil {
			t.Errorf("it says %v", err)
		}
		time.Sleep(pause)
		if _, err := p.find(t.Context(), nameOf(two)); !errors.Is(err, ErrLost) || !errors.Is(err, away) {
			t.Errorf("then it says %v", err)
		}
	})
}

func TestAllReplicasAreTold(t *testing.T) {
	s := newSite(t, shared(t))
	var got [2]atomic.Pointer[seen]
	var replicas [2]*Peers
	for i, address := range []netip.Addr{two, three} {
		handler := record(func() *Peers { return replicas[i] }, &got[i])
		s.serve(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(ok{w}, r) }))
	}
	s.set(one, two, three)
	replicas[0], replicas[1] = s.replica(two), s.replica(three)
	r := aRequest(t, "read already")
	if err := s.replica(one).Broadcast(r, []byte("body")); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		g := got[i].Load()
		if g == nil || g.body != "body" || !g.believed || !g.passedOn || g.host != host || g.authorization != "Bearer key" || g.caller.String() != "192.0.2.7" {
			t.Errorf("replica %d gets %+v", i, g)
		}
	}
	prove(r, []byte("k"), "192.0.2.7")
	got[0].Store(nil)
	if err := s.replica(one).Broadcast(r, nil); err != nil || got[0].Load() != nil {
		t.Errorf("what a peer has told is told again: %v", err)
	}
}

// ok answers with status 200.
type ok struct{ http.ResponseWriter }

func (o ok) WriteHeader(int) { o.ResponseWriter.WriteHeader(http.StatusOK) }

func TestReplicasThatCouldNotBeToldAreNamed(t *testing.T) {
	s := newSite(t, shared(t))
	s.serve(two, http.NotFoundHandler())
	s.set(one, two, three)
	err := s.replica(one).Broadcast(aRequest(t, ""), nil)
	for address, want := range map[netip.Addr]error{two: ErrRefused, three: ErrLost} {
		if !errors.Is(err, want) {
			t.Errorf("of %v it says %v", address, fmt.Sprint(err))
		}
	}
}
