// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestGeneratedLoginsAreLongAndNeedNoEscaping(t *testing.T) {
	first, err := generate(true, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := generate(false, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !first.generated() || !second.generated() {
		t.Error("a login is of another form than letters and digits")
	}
	if first.Password == second.Password {
		t.Error("two passwords are the same")
	}
	if first.Username != "app" || !strings.HasPrefix(second.Username, "app-") {
		t.Errorf("the usernames are %q and %q", first.Username, second.Username)
	}
}

func TestGeneratedLoginsUseAllThatIsRead(t *testing.T) {
	seen := map[Login]bool{}
	for i := range passwordBytes + suffixBytes {
		random := make([]byte, passwordBytes+suffixBytes)
		random[i] = 1
		login, err := generate(false, bytes.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		seen[login] = true
	}
	if len(seen) != passwordBytes+suffixBytes {
		t.Errorf("%d different inputs gave %d logins", passwordBytes+suffixBytes, len(seen))
	}
}

func TestNothingIsGeneratedWithoutEnoughRandomness(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		random io.Reader
		want   error
	}{
		{iotest.ErrReader(broken), broken},
		{strings.NewReader("short"), io.ErrUnexpectedEOF},
		{strings.NewReader("enough for a login, but no salt"), io.ErrUnexpectedEOF},
	} {
		_, err := Keyring{}.Next(Wish{Origin: OriginGenerated}, Sight{Now: time.Unix(1, 0), Known: nobodyKnows}, test.random)
		if !errors.Is(err, test.want) {
			t.Errorf("got %v, want %v", err, test.want)
		}
	}
}

func nobodyKnows(Credential) bool { return false }
