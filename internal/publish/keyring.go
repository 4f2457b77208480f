// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"
)

// MaxGenerated is how many generated credentials of a pool work at a time. A rotation
// that would make one more waits until the oldest has expired: none ends before its
// time, whatever is asked for, unless the overlap is made shorter.
const MaxGenerated = 5

// Keyring holds what the clients of a pool may log in with, the newest first. Each
// credential goes one way: into the poolers' configuration; to applications, once
// every pooler runs it; out again, when its overlap is over after applications could
// read a newer one.
type Keyring struct {
	// Asked is the request for a rotation that was met last.
	Asked       string       `json:"asked,omitempty"`
	Credentials []Credential `json:"credentials"`
}

// Wish is what the pool's spec asks of its credentials.
type Wish struct {
	// Origin of the credential that applications use.
	Origin Origin
	// Server is the server's own, as the upstream Secret has it.
	Server Login
	// Asked requests a rotation with each new value.
	Asked string
	// MaxAge is when a generated credential is rotated; 0 is never.
	MaxAge time.Duration
	// Overlap is how long a replaced credential works; 0 ends it at once. One of the
	// server ends at once, too, when the upstream Secret no longer holds it.
	Overlap time.Duration
}

// Sight is what was seen of the credentials in use.
type Sight struct {
	// Now in whole seconds.
	Now time.Time
	// Known reports whether every pooler that serves runs a configuration with the credential.
	Known func(Credential) bool
	// Published is what applications can read; its zero value where that is not known.
	Published Login
}

// Next is the keyring's next step. Once nothing is left to do it is the keyring
// itself. It fails when random does.
func (k Keyring) Next(w Wish, s Sight, random io.Reader) (Keyring, error) {
	next := Keyring{Asked: k.Asked, Credentials: slices.Clone(k.Credentials)}
	next.drop(w, s.Now)
	if err := next.choose(w, s.Now, random); err != nil {
		return Keyring{}, err
	}
	next.publish(s)
	next.replace(s)
	next.drop(w, s.Now)
	return next, nil
}

// choose puts the credential that is wished for at the front. One that is still there
// comes back, so that a mode switched to and fro changes nothing.
func (k *Keyring) choose(w Wish, now time.Time, random io.Reader) error {
	at := slices.IndexFunc(k.Credentials, w.fits)
	switch {
	case at > 0:
		back := k.Credentials[at]
		back.ReplacedAt = time.Time{}
		k.Credentials = slices.Insert(slices.Delete(k.Credentials, at, at+1), 0, back)
		return nil
	case at == 0 && (w.Origin == OriginServer || k.Credentials[0].PublishedAt.IsZero()):
		k.heed(w) // The server's is not ours to rotate, and one that nobody could read is new.
		return nil
	case at == 0 && (!k.outdated(w, now) || !k.room()):
		return nil
	}
	login := w.Server
	if w.Origin == OriginGenerated {
		var err error
		if login, err = generate(len(k.Credentials) == 0, random); err != nil {
			return err
		}
	}
	made, err := issue(login, w.Origin, now, random)
	if err != nil {
		return err
	}
	k.heed(w)
	k.Credentials = slices.Insert(k.Credentials, 0, made)
	return nil
}

// fits reports whether a credential is of the kind wished for.
func (w Wish) fits(c Credential) bool {
	if w.Origin == OriginServer {
		return c.Origin == OriginServer && c.Login == w.Server
	}
	return c.Origin == OriginGenerated && c.Password != ""
}

// heed notes that a request for a rotation is met.
func (k *Keyring) heed(w Wish) {
	if w.Asked != "" {
		k.Asked = w.Asked
	}
}

func (k Keyring) asked(w Wish) bool { return w.Asked != "" && w.Asked != k.Asked }

func (k Keyring) outdated(w Wish, now time.Time) bool {
	return k.asked(w) || w.MaxAge > 0 && !now.Before(k.Credentials[0].IssuedAt.Add(w.MaxAge))
}

func (k Keyring) room() bool {
	generated := 0
	for _, c := range k.Credentials {
		if c.Origin == OriginGenerated {
			generated++
		}
	}
	return generated < MaxGenerated
}

// publish lets applications have the newest once every pooler knows it, or at once
// where they have none.
func (k *Keyring) publish(s Sight) {
	newest := &k.Credentials[0]
	if newest.PublishedAt.IsZero() && (s.Known(*newest) || k.published() < 0) {
		newest.PublishedAt = s.Now
	}
}

// replace starts the overlap of all others once applications can read the newest.
func (k *Keyring) replace(s Sight) {
	if s.Published != k.Credentials[0].Login {
		return
	}
	for i := range k.Credentials[1:] {
		if c := &k.Credentials[i+1]; c.ReplacedAt.IsZero() {
			c.ReplacedAt = s.Now
		}
	}
}

// drop ends what is over. One that is in the front stays, and so does what
// applications read.
func (k *Keyring) drop(w Wish, now time.Time) {
	var kept []Credential
	for i, c := range k.Credentials {
		superseded := i > 0 && c.PublishedAt.IsZero()
		revoked := c.Origin == OriginServer && c.Login != w.Server
		over := !c.ReplacedAt.IsZero() && (revoked || !now.Before(c.EndsAt(w)))
		if !superseded && !over {
			kept = append(kept, c)
		}
	}
	k.Credentials = kept
}

// published is the index of what applications read; negative before there is any.
func (k Keyring) published() int {
	return slices.IndexFunc(k.Credentials, func(c Credential) bool { return !c.PublishedAt.IsZero() && c.Password != "" })
}

// Published is what applications read: the newest that every pooler knows.
func (k Keyring) Published() Credential { return k.Credentials[max(k.published(), 0)] }

// Settled reports whether all but what applications read is on its way out, so that
// what they can read need not be looked at.
func (k Keyring) Settled() bool {
	return !slices.ContainsFunc(k.Credentials[1:], func(c Credential) bool { return c.ReplacedAt.IsZero() })
}

// Accepted are those that poolers let in: of two with one name, the newer.
func (k Keyring) Accepted() []Credential {
	var accepted []Credential
	seen := map[string]bool{}
	for _, c := range k.Credentials {
		if !seen[c.Username] {
			accepted = append(accepted, c)
		}
		seen[c.Username] = true
	}
	return accepted
}

// Due is when time alone makes the next step; zero where it makes none.
func (k Keyring) Due(w Wish) time.Time {
	var due time.Time
	for _, c := range k.Credentials {
		due = sooner(due, c.EndsAt(w))
	}
	if newest := k.Credentials[0]; w.Origin == OriginGenerated && w.MaxAge > 0 && !newest.PublishedAt.IsZero() && k.room() {
		due = sooner(due, newest.IssuedAt.Add(w.MaxAge))
	}
	return due
}

// Waits reports whether a rotation that was asked for waits for an older credential
// to expire.
func (k Keyring) Waits(w Wish) bool {
	return w.Origin == OriginGenerated && k.asked(w) && !k.room()
}

// Encode returns the keyring as it is kept. It holds passwords.
func (k Keyring) Encode() []byte {
	data, err := json.Marshal(k)
	if err != nil {
		panic(err) // Strings and times of this age always encode.
	}
	return data
}

// DecodeKeyring reads what Encode wrote. Its error quotes nothing of it.
func DecodeKeyring(data []byte) (Keyring, error) {
	var k Keyring
	unfit := func(c Credential) bool {
		_, _, ok := scramParts(c.Secret)
		return !ok || c.Username == "" || c.IssuedAt.IsZero() || c.Origin != OriginGenerated && c.Origin != OriginServer
	}
	if json.Unmarshal(data, &k) != nil || len(k.Credentials) == 0 || slices.ContainsFunc(k.Credentials, unfit) {
		return Keyring{}, errors.New("decoding the credentials: they are not the JSON expected")
	}
	return k, nil
}

// Recover makes a keyring of what else is there when it is lost: the names and secrets
// that poolers let in, the newest first, and what applications can read. So nobody is
// locked out: a credential whose password is lost works for another overlap. Nothing
// is taken up that a person could have chosen. It fails when random does.
func Recover(accepted []Credential, published Login, w Wish, now time.Time, random io.Reader) (Keyring, error) {
	var k Keyring
	if len(accepted) == 0 && published.generated() {
		found, err := issue(published, OriginGenerated, now, random)
		if err != nil {
			return Keyring{}, err
		}
		accepted = []Credential{found}
	}
	for _, known := range accepted {
		c := Credential{Login: Login{Username: known.Username}, Origin: OriginGenerated, Secret: known.Secret, IssuedAt: now, PublishedAt: now}
		switch {
		case w.Server.Username == c.Username && verifies(c.Secret, w.Server.Password):
			c.Login, c.Origin = w.Server, OriginServer
		case published.Username == c.Username && verifies(c.Secret, published.Password):
			c.Login = published
		case !usernameForm.MatchString(c.Username):
			continue
		}
		k.Credentials = append(k.Credentials, c)
	}
	if len(k.Credentials) > 0 && k.Credentials[0].Password != "" {
		k.heed(w) // Where the newest is lost, it may have been what the request made.
	}
	return k, nil
}
