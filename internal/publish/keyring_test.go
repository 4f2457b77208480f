// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// life plays a pool's passes: what applications can read follows each pass, and the
// poolers know at once what they were told, unless they are held up.
type life struct {
	t       *testing.T
	keyring Keyring
	wish    Wish
	now     time.Time
	// read is what applications can read, told what poolers were told last.
	read   Login
	told   map[string]bool
	heldUp bool
	// stuck keeps what applications can read as it is.
	stuck bool
}

func newLife(t *testing.T, change ...func(*Wish)) *life {
	t.Helper()
	l := &life{
		t: t, now: time.Unix(1_700_000_000, 0).UTC(), told: map[string]bool{},
		wish: Wish{Origin: OriginGenerated, Server: Login{"shop", "of the server"}, Overlap: 24 * time.Hour},
	}
	for _, f := range change {
		f(&l.wish)
	}
	l.pass()
	return l
}

func (l *life) pass() {
	l.t.Helper()
	next, err := l.keyring.Next(l.wish, Sight{
		Now: l.now, Published: l.read, Known: func(c Credential) bool { return !l.heldUp && l.told[c.Secret] },
	}, rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.keyring, err = DecodeKeyring(next.Encode()); err != nil {
		l.t.Fatal(err)
	}
	l.told = map[string]bool{}
	for _, c := range l.keyring.Accepted() {
		l.told[c.Secret] = true
	}
	if !l.stuck {
		l.read = l.keyring.Published().Login
	}
}

// settle passes until nothing changes, and reports how often something did.
func (l *life) settle() int {
	l.t.Helper()
	for changes := range 20 {
		before, read := l.keyring, l.read
		if l.pass(); cmp.Equal(before, l.keyring) && read == l.read {
			return changes
		}
	}
	l.t.Fatal("the passes never settle")
	return 0
}

func (l *life) rotate() {
	l.t.Helper()
	l.wish.Asked += "again"
	l.settle()
}

func (l *life) generated() (n int) {
	for _, c := range l.keyring.Credentials {
		if c.Origin == OriginGenerated {
			n++
		}
	}
	return n
}

// works reports whether poolers that run the newest configuration let a login in.
func (l *life) works(login Login) bool {
	for _, c := range l.keyring.Accepted() {
		if c.Username == login.Username && verifies(c.Secret, login.Password) {
			return true
		}
	}
	return false
}

func TestAPoolStartsWithOneCredentialThatStays(t *testing.T) {
	l := newLife(t)
	first := l.read
	if !first.generated() || first.Username != "app" || !l.works(first) {
		t.Errorf("applications can not log in as %s", first.Username)
	}
	if changes := l.settle(); changes != 0 {
		t.Errorf("%d passes changed a settled keyring", changes)
	}
	l.now = l.now.Add(1000 * 24 * time.Hour)
	l.settle()
	if l.read != first {
		t.Error("the credential changed though nobody asked")
	}
}

func TestApplicationsReadOnlyWhatEveryPoolerKnows(t *testing.T) {
	l := newLife(t)
	first := l.read
	l.heldUp, l.wish.Asked = true, "now"
	l.settle()
	if l.read != first || len(l.keyring.Accepted()) != 2 {
		t.Error("new credentials were published, or poolers were not told of them")
	}
	l.now = l.now.Add(48 * time.Hour)
	l.settle()
	if !l.works(first) {
		t.Error("the old credential ended before applications could read a newer one")
	}
	l.heldUp = false
	l.settle()
	if l.read == first || l.read.Username == first.Username || !l.works(l.read) || !l.works(first) {
		t.Error("after the rotation not both credentials work, or one name has two passwords")
	}
	l.now = l.now.Add(24*time.Hour - time.Second)
	if l.settle(); !l.works(first) {
		t.Error("the old credential ended before its overlap")
	}
	l.now = l.now.Add(time.Second)
	if l.settle(); l.works(first) || !l.works(l.read) {
		t.Error("after the overlap the old credential works, or the new one does not")
	}
}

func TestTheOverlapBeginsWhenApplicationsCanReadTheNewOne(t *testing.T) {
	l := newLife(t, func(w *Wish) { w.Overlap = 0 })
	first := l.read
	l.stuck, l.wish.Asked = true, "now"
	l.settle()
	if l.keyring.Published().Login == first || !l.works(first) {
		t.Error("the old credential ended while applications could read nothing else")
	}
	l.stuck = false
	l.settle()
	if l.works(first) || l.read == first || !l.works(l.read) {
		t.Error("an overlap of 0 leaves the old credential working, or none")
	}
}

func TestEachRequestRotatesOnce(t *testing.T) {
	l := newLife(t, func(w *Wish) { w.Asked = "from the first day" })
	first := l.read
	if l.settle(); l.read != first {
		t.Error("a request that was there before the pool rotated its new credential")
	}
	seen := map[Login]bool{first: true}
	for _, asked := range []string{"Monday", "Monday", "", "Monday", "Tuesday"} {
		l.wish.Asked = asked
		l.settle()
		seen[l.read] = true
	}
	if len(seen) != 3 {
		t.Errorf("two requests made %d credentials of one", len(seen))
	}
}

func TestRequestsInARowMeetInOneThatNobodyHasReadYet(t *testing.T) {
	l := newLife(t)
	l.heldUp = true
	for range 10 {
		l.rotate()
	}
	if n := l.generated(); n != 2 {
		t.Errorf("there are %d credentials, want the old and one new", n)
	}
	l.heldUp = false
	if l.settle(); l.keyring.Asked != l.wish.Asked || l.generated() != 2 {
		t.Error("a request that was met was met again")
	}
}

func TestARotationTooManyWaitsForTheOldestToExpire(t *testing.T) {
	l := newLife(t)
	all := []Login{l.read}
	for range MaxGenerated + 3 {
		l.rotate()
		all = append(all, l.read)
		l.now = l.now.Add(time.Hour)
	}
	if n := l.generated(); n != MaxGenerated || !l.keyring.Waits(l.wish) {
		t.Errorf("%d credentials work, and a further rotation waits: %t", n, l.keyring.Waits(l.wish))
	}
	for _, login := range all[:MaxGenerated] {
		if !l.works(login) {
			t.Error("a credential ended before its overlap")
		}
	}
	before := l.read
	l.now = l.keyring.Due(l.wish)
	l.settle()
	if l.works(all[0]) || l.read == before || l.keyring.Waits(l.wish) || l.generated() != MaxGenerated {
		t.Error("the rotation did not take the place of the oldest")
	}
	l.wish.Overlap = 0
	if l.settle(); l.generated() != 1 || !l.works(l.read) {
		t.Error("an overlap of 0 does not end what was replaced before")
	}
}

func TestCredentialsAreRotatedByAge(t *testing.T) {
	l := newLife(t, func(w *Wish) { w.MaxAge, w.Overlap = 30*24*time.Hour, time.Hour })
	born, seen := l.now, map[Login]bool{}
	for range 12 {
		seen[l.read] = true
		due := l.keyring.Due(l.wish)
		if !due.After(l.now) {
			t.Fatalf("settled, and due %v ago", l.now.Sub(due))
		}
		l.now = due
		l.settle()
	}
	// Each rotation is due twice: when it is made, and when the one before has ended.
	if len(seen) != 7 || l.now.Sub(born) != 6*30*24*time.Hour+time.Hour {
		t.Errorf("%d credentials in %v", len(seen), l.now.Sub(born))
	}
}

func TestAgeAloneMakesNoMoreCredentialsThanMayWork(t *testing.T) {
	l := newLife(t, func(w *Wish) { w.MaxAge, w.Overlap = 24*time.Hour, 90*24*time.Hour })
	for range 200 {
		due := l.keyring.Due(l.wish)
		if !due.After(l.now) {
			t.Fatalf("settled, and due %v ago", l.now.Sub(due))
		}
		l.now = due
		l.settle()
		if n := l.generated(); n > MaxGenerated {
			t.Fatalf("%d credentials work", n)
		}
	}
}

func TestTheServersOwnCredentialFollowsItsSecret(t *testing.T) {
	l := newLife(t, func(w *Wish) { w.Origin = OriginServer })
	if l.read != l.wish.Server || !l.works(l.read) {
		t.Fatal("applications do not log in as the Secret says")
	}
	if l.settle() != 0 {
		t.Error("a settled keyring changes")
	}

	old := l.wish.Server
	l.wish.Server.Password, l.heldUp = "another", true
	l.settle()
	if l.read != old || !l.works(l.wish.Server) || l.works(old) {
		t.Error("poolers do not know the new password alone, or applications can read it too early")
	}
	l.wish.Server.Password = "a third"
	l.settle()
	l.heldUp = false
	l.settle()
	if l.read != l.wish.Server || !l.works(l.read) || len(l.keyring.Credentials) != 1 {
		t.Error("a password that changed twice does not settle on the last")
	}

	old = l.wish.Server
	l.wish.Server = Login{"shop_2", "fresh"}
	l.pass()
	if !l.works(old) || !l.works(l.wish.Server) {
		t.Error("another user's login ends before applications can read the new one")
	}
	if l.settle(); l.works(old) || l.read != l.wish.Server {
		t.Error("a pool lets in whom its Secret no longer holds")
	}
}

func TestAModeSwitchedToAndFroChangesNothing(t *testing.T) {
	l := newLife(t)
	generated := l.read
	for range 10 {
		l.wish.Origin = OriginServer
		l.settle()
		if l.read != l.wish.Server || !l.works(l.read) || !l.works(generated) {
			t.Fatal("the server's login does not work, or the generated one ended without an overlap")
		}
		l.wish.Origin = OriginGenerated
		l.settle()
		if l.read != generated || !l.works(generated) || !l.works(l.wish.Server) {
			t.Fatal("the generated credential did not come back, or the server's ended without an overlap")
		}
	}
	l.wish.Server.Password = "changed"
	if l.settle(); len(l.keyring.Credentials) != 1 {
		t.Error("a login that the Secret no longer holds works on")
	}

	l.wish.Origin, l.heldUp = OriginServer, true
	l.settle()
	l.wish.Origin = OriginGenerated
	if l.settle(); l.read != generated || len(l.keyring.Credentials) != 1 {
		t.Error("what nobody has read yet outlives the wish for it")
	}

	l.wish.Origin, l.heldUp = OriginServer, false
	l.settle()
	l.now = l.now.Add(l.wish.Overlap)
	l.settle()
	l.wish.Origin = OriginGenerated
	if l.settle(); l.read == generated || l.works(generated) {
		t.Error("a generated credential came back after its end")
	}
}

func TestAServersUserOfTheSameNameTakesItsPlace(t *testing.T) {
	l := newLife(t, func(w *Wish) { w.Server = Login{"app", "of the server"} })
	generated := l.read
	l.wish.Origin, l.heldUp = OriginServer, true
	l.settle()
	if len(l.keyring.Accepted()) != 1 || l.read != generated {
		t.Error("one name has two passwords, or applications can read the new one too early")
	}
	l.heldUp = false
	if l.settle(); l.read != l.wish.Server || !l.works(l.read) {
		t.Error("the server's login does not work")
	}
}

func TestNobodyIsLockedOutByALostKeyring(t *testing.T) {
	l := newLife(t)
	oldest := l.read
	l.rotate()
	l.wish.Overlap = 0 // Harder: nothing that is replaced lives on.
	lose := func(accepted []Credential, published Login) {
		t.Helper()
		var err error
		if l.keyring, err = Recover(accepted, published, l.wish, l.now, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	bare := func() (all []Credential) {
		for _, c := range l.keyring.Accepted() {
			all = append(all, Credential{Login: Login{Username: c.Username}, Secret: c.Secret})
		}
		return append(all, Credential{Login: Login{Username: "planted"}, Secret: all[0].Secret})
	}
	published := l.read

	t.Run("what applications read goes on where poolers know it", func(t *testing.T) {
		lose(bare(), published)
		if l.settle(); l.read != published || !l.works(published) || l.works(oldest) {
			t.Error("the published credential was replaced")
		}
	})
	t.Run("a rotation that was under way is made anew", func(t *testing.T) {
		l.heldUp = true
		l.rotate()
		lose(bare(), published)
		l.heldUp = false
		if l.settle(); l.read == published || !l.works(l.read) || l.works(published) || l.keyring.Asked != l.wish.Asked {
			t.Error("the request was forgotten")
		}
		published = l.read
	})
	t.Run("it goes on where nothing else is left", func(t *testing.T) {
		lose(nil, published)
		if l.settle(); l.read != published || !l.works(published) {
			t.Error("the published credential was replaced")
		}
	})
	t.Run("what was written over it by hand is not taken up, and the old one has its overlap", func(t *testing.T) {
		for name, forged := range map[string]Login{
			"another password":      {published.Username, strings.Repeat("A", 32)},
			"a user poolers forgot": {"app-aaaaaaaa", strings.Repeat("A", 32)},
			"nothing":               {},
		} {
			lose(bare(), forged)
			l.read = forged
			l.pass()
			if l.read == forged || l.read == published || !l.works(l.read) || l.works(forged) || !l.works(published) {
				t.Errorf("with %s applications are locked out, or a stranger is let in", name)
			}
			if l.settle(); l.works(published) {
				t.Errorf("with %s the lost credential works on", name)
			}
			published = l.read
		}
	})
	t.Run("a password of somebody's choice is not taken up", func(t *testing.T) {
		for _, chosen := range []Login{{"app", "12345"}, {"root", strings.Repeat("A", 32)}} {
			lose(nil, chosen)
			l.settle()
			if l.read == chosen || l.works(chosen) || l.read.Username != "app" {
				t.Errorf("a chosen login of %s works", chosen.Username)
			}
		}
	})
	t.Run("the server's own is the Secret's", func(t *testing.T) {
		l.wish.Origin = OriginServer
		l.settle()
		lose(bare(), l.read)
		if len(l.keyring.Credentials) != 1 || l.settle() != 0 || l.read != l.wish.Server {
			t.Error("the server's login was not made out")
		}
		lose(nil, l.read)
		if l.settle(); l.read != l.wish.Server || !l.works(l.read) {
			t.Error("the server's login was lost")
		}
	})
}

func TestADamagedKeyringIsNotTakenForOne(t *testing.T) {
	good := string(newLife(t).keyring.Encode())
	for _, damaged := range []string{
		"", "null", "[]", "{}", `{"credentials":[]}`, good[:len(good)/2], strings.Replace(good, "SCRAM", "MD5", 1),
		strings.Replace(good, "Generated", "Stolen", 1), strings.Replace(good, `"username":"app"`, `"username":""`, 1),
		strings.Replace(good, `"issuedAt"`, `"issued"`, 1),
	} {
		_, err := DecodeKeyring([]byte(damaged))
		if err == nil {
			t.Errorf("%.20s… is taken for a keyring", damaged)
			continue
		}
		if strings.Contains(err.Error(), "app") || strings.Contains(err.Error(), "SCRAM") {
			t.Errorf("the error quotes what it read: %v", err)
		}
	}
}
