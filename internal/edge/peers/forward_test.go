// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// pair is a replica, and another one that records what it gets.
func pair(t *testing.T, certificates map[netip.Addr][]*tls.Certificate) (s *site, first *Peers, got *atomic.Pointer[seen]) {
	t.Helper()
	s, got = newSite(t, certificates), &atomic.Pointer[seen]{}
	var second *Peers
	s.serve(two, record(func() *Peers { return second }, got))
	second = s.replica(two)
	return s, s.replica(one), got
}

func TestARequestIsAnsweredByTheReplicaThatIsNamed(t *testing.T) {
	_, first, got := pair(t, shared(t))
	w := httptest.NewRecorder()
	r := aRequest(t, "statement")
	r.Header.Set("X-Forwarded-For", "192.0.2.99")
	if err := first.Forward(w, r, nameOf(two)); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusTeapot || w.Body.String() != "answered" || w.Header().Get("Prisma-Transaction-Id") != "x" {
		t.Errorf("the answer is %d %q %v", w.Code, w.Body, w.Header())
	}
	want := seen{
		caller: netip.MustParseAddr("192.0.2.7"), believed: true, passedOn: true, body: "statement",
		path: "/transaction/x%2Fy/query", host: host, authorization: "Bearer key",
	}
	if *got.Load() != want {
		t.Errorf("it gets %+v", *got.Load())
	}
}

func TestWithoutTLSACallerIsNotBelievedButThatItWasPassedOnIs(t *testing.T) {
	_, first, got := pair(t, nil)
	if err := first.Forward(httptest.NewRecorder(), aRequest(t, ""), nameOf(two)); err != nil {
		t.Fatal(err)
	}
	if g := got.Load(); g.believed || !g.passedOn || g.forwardedFor != "192.0.2.7" {
		t.Errorf("it gets %+v", *g)
	}
}

func TestNamesThatAreNotAReplicasReachNothing(t *testing.T) {
	s := newSite(t, shared(t))
	var reached atomic.Int64
	s.serve(three, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	first := s.replica(one)
	for _, name := range []string{
		"", "127.0.0.4", "127.0.0.4:80", "localhost", "example.com", "..", "%", "a-b", nameOf(three), nameOf(three) + "=", strings.ToUpper(nameOf(two)),
		nameOf(two) + "." + nameOf(three), nameOf(two) + ":80", "0", strings.Repeat("0", 1000), nameOf(one),
		nameOf(netip.MustParseAddr("::1")), nameOf(netip.MustParseAddr("::ffff:127.0.0.4")), nameOf(netip.MustParseAddr("169.254.169.254")),
	} {
		w := httptest.NewRecorder()
		if err := first.Forward(w, aRequest(t, ""), name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
		if w.Body.Len() > 0 {
			t.Errorf("%q: something was written", name)
		}
	}
	if reached.Load() != 0 {
		t.Error("a stranger's address was reached")
	}
	if asked := s.asked.Load(); asked > 2 {
		t.Errorf("forged names made it ask the DNS %d times", asked)
	}
}

func TestTheHostOfARequestDoesNotSayWhereItGoes(t *testing.T) {
	s, first, got := pair(t, shared(t))
	var reached atomic.Int64
	s.serve(three, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	for _, named := range []string{"127.0.0.4", "127.0.0.4:80", nameOf(three) + ".edge.test", host + ":1"} {
		r := aRequest(t, "")
		r.Host = named
		got.Store(nil)
		if err := first.Forward(httptest.NewRecorder(), r, nameOf(two)); err != nil || got.Load() == nil || got.Load().host != named {
			t.Errorf("%s: %v, %+v", named, err, got.Load())
		}
	}
	if reached.Load() != 0 {
		t.Error("a stranger's address was reached")
	}
}

func TestARequestIsPassedOnOnce(t *testing.T) {
	s := newSite(t, shared(t))
	var second *Peers
	outcome := make(chan error, 1)
	s.serve(two, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		second.Accept(r)
		outcome <- second.Forward(w, r, nameOf(one))
	}))
	second = s.replica(two)
	if err := s.replica(one).Forward(httptest.NewRecorder(), aRequest(t, ""), nameOf(two)); err != nil {
		t.Fatal(err)
	}
	if err := <-outcome; !errors.Is(err, ErrRefused) {
		t.Errorf("the second time it says %v", err)
	}
}

func TestAReplicaThatHasGoneIsLost(t *testing.T) {
	s := newSite(t, shared(t))
	server := s.serve(two, http.NotFoundHandler())
	first := s.replica(one)
	server.Close()
	w := httptest.NewRecorder()
	if err := first.Forward(w, aRequest(t, "x"), nameOf(two)); !errors.Is(err, ErrLost) || w.Body.Len() > 0 {
		t.Errorf("it says %v and writes %q", err, w.Body)
	}
}

func TestAReplicaThatGoesBeforeItAnswersIsLost(t *testing.T) {
	s := newSite(t, shared(t))
	s.serve(two, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	w := httptest.NewRecorder()
	if err := s.replica(one).Forward(w, aRequest(t, "x"), nameOf(two)); !errors.Is(err, ErrLost) || w.Body.Len() > 0 {
		t.Errorf("it says %v and writes %q", err, w.Body)
	}
}

func TestAReplicaThatShowsAnotherCertificateGetsNothing(t *testing.T) {
	all := shared(t)
	all[two] = []*tls.Certificate{issue(t)}
	_, first, got := pair(t, all)
	if err := first.Forward(httptest.NewRecorder(), aRequest(t, "x"), nameOf(two)); !errors.Is(err, ErrRefused) {
		t.Errorf("it says %v", err)
	}
	if got.Load() != nil {
		t.Error("the request was sent")
	}
}

func TestAReplicaWithTheCertificateBeforeStillTakesPart(t *testing.T) {
	all := shared(t)
	all[one] = []*tls.Certificate{issue(t), all[two][0]}
	_, first, got := pair(t, all)
	if err := first.Forward(httptest.NewRecorder(), aRequest(t, "x"), nameOf(two)); err != nil || got.Load() == nil {
		t.Errorf("it says %v", err)
	}
}

func TestAClientThatGoesIsToldFromAReplicaThatIsLost(t *testing.T) {
	s := newSite(t, shared(t))
	arrived := make(chan struct{})
	s.serve(two, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	gone := errors.New("the client has gone")
	ctx, leave := context.WithCancelCause(t.Context())
	go func() {
		<-arrived
		leave(gone)
	}()
	if err := s.replica(one).Forward(httptest.NewRecorder(), aRequest(t, "").WithContext(ctx), nameOf(two)); !errors.Is(err, gone) || errors.Is(err, ErrLost) {
		t.Errorf("it says %v", err)
	}
}

func TestBodiesHaveBounds(t *testing.T) {
	s := newSite(t, shared(t))
	s.limit.RequestBytes, s.limit.ResultBytes = 8, 8
	s.serve(two, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 64)
		n, _ := r.Body.Read(body)
		if n == 1 {
			_, _ = w.Write(make([]byte, 9))
		}
	}))
	first := s.replica(one)
	err := first.Forward(httptest.NewRecorder(), aRequest(t, "123456789"), nameOf(two))
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); !tooLong {
		t.Errorf("of a request that is too long it says %v", err)
	}
	if err := first.Forward(httptest.NewRecorder(), aRequest(t, "1"), nameOf(two)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("of an answer that is too long it says %v", err)
	}
}

func TestAnAnswerThatGoesOnAndOnIsCutOff(t *testing.T) {
	s := newSite(t, shared(t))
	s.limit.ResultBytes = 1 << 16
	s.serve(two, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<15)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}))
	w := httptest.NewRecorder()
	defer func() {
		problem, _ := recover().(error)
		if !errors.Is(problem, http.ErrAbortHandler) || w.Body.Len() > 1<<16 {
			t.Errorf("it ends with %v after %d bytes", problem, w.Body.Len())
		}
	}()
	r := aRequest(t, "")
	_ = s.replica(one).Forward(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{ReadHeaderTimeout: 1})), nameOf(two))
	t.Error("it looks as if it were whole")
}
