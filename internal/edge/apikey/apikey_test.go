// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package apikey_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"

	"github.com/poolfleet/poolfleet/internal/edge/apikey"
)

func aKey() apikey.Key {
	return apikey.Key{Namespace: "demo", Pool: "shop", User: "app-x2y3z4a5", Password: "S3CRETS3CRET", Database: "shöp"}
}

func TestKeyIsReadAsItWasMade(t *testing.T) {
	long := aKey()
	long.Password = strings.Repeat("p", 2048) // PgBouncer takes passwords of up to 2047 bytes.
	odd := aKey()
	odd.User, odd.Password, odd.Database = "o'b \"r/ien@", "a&b=c%20+#?", "données"
	silent := aKey()
	silent.Password = ""
	for _, want := range []apikey.Key{aKey(), long, odd, silent} {
		text := want.String()
		got, err := apikey.Parse(text)
		if err != nil || got != want {
			t.Errorf("%v was read as %v, %v", want, got, err)
		}
		if url.QueryEscape(text) != text {
			t.Errorf("the key of %v does not stand in a URL as it is", want)
		}
	}
}

func TestKeyStaysTheSameFromReleaseToRelease(t *testing.T) {
	const text = "pf1_AARkZW1vAARzaG9wAAxhcHAteDJ5M3o0YTUADFMzQ1JFVFMzQ1JFVAAFc2jDtnDSkjQf"
	if got := aKey().String(); got != text {
		t.Errorf("the key is %s, Workers have %s", got, text)
	}
}

func TestDamagedKeyIsToldFromForeignOne(t *testing.T) {
	whole := aKey().String()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"nothing":               {"", apikey.ErrForeign},
		"a key of the vendor":   {"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x", apikey.ErrForeign},
		"a later format":        {"pf2_" + whole[4:], apikey.ErrForeign},
		"the prefix alone":      {"pf1_", apikey.ErrDamaged},
		"cut by one":            {whole[:len(whole)-1], apikey.ErrDamaged},
		"cut in half":           {whole[:len(whole)/2], apikey.ErrDamaged},
		"one letter changed":    {strings.Replace(whole, "z", "y", 1), apikey.ErrDamaged},
		"a line's end behind":   {whole + "\n", apikey.ErrDamaged},
		"a line's end within":   {whole[:9] + "\r\n" + whole[9:], apikey.ErrDamaged},
		"padding":               {whole + "=", apikey.ErrDamaged},
		"more behind":           {whole + "AAAA", apikey.ErrDamaged},
		"too long":              {"pf1_" + strings.Repeat("A", apikey.MaxLength), apikey.ErrDamaged},
		"a field too few":       {made("demo", "shop", "app", "pw"), apikey.ErrDamaged},
		"a field too many":      {made("demo", "shop", "app", "pw", "shop", "x"), apikey.ErrDamaged},
		"no pool":               {made("demo", "", "app", "pw", "shop"), apikey.ErrDamaged},
		"another parameter":     {made("demo", "shop", "app\x00options\x00-c x", "pw", "shop"), apikey.ErrDamaged},
		"not UTF-8":             {made("demo", "shop", "app", "pw", "\xff"), apikey.ErrDamaged},
		"a length past the end": {made("demo", "shop", "app", "pw")[:8] + "____", apikey.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := apikey.Parse(test.text)
			if !errors.Is(err, test.want) || got != (apikey.Key{}) {
				t.Errorf("it was read as %v, %v", got, err)
			}
		})
	}
}

// made is a key with a good checksum over whatever is in it.
func made(fields ...string) string {
	var body []byte
	for _, field := range fields {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(field))), field...)
	}
	sum := sha256.Sum256(body)
	return "pf1_" + base64.RawURLEncoding.EncodeToString(append(body, sum[:4]...))
}

func TestKeyThatNobodyCouldReadIsNotMade(t *testing.T) {
	for name, change := range map[string]func(*apikey.Key){
		"a password that no header takes": func(k *apikey.Key) { k.Password = strings.Repeat("p", 1<<17) },
		"no user":                         func(k *apikey.Key) { k.User = "" },
		"a zero byte":                     func(k *apikey.Key) { k.Database = "shop\x00" },
	} {
		key := aKey()
		if change(&key); key.String() != "" {
			t.Errorf("there is a key of %s", name)
		}
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	key := aKey()
	encoded, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	var logged string
	funcr.New(func(_, args string) { logged += args }, funcr.Options{}).Info("", "key", key, "pointer", &key)
	_, err = apikey.Parse(key.String()[:40])
	for _, text := range []string{
		fmt.Sprint(key), fmt.Sprint(&key), fmt.Sprintf("%+v %#v %s %q %x", key, key, key, key, key),
		fmt.Sprint(struct{ Key apikey.Key }{key}), fmt.Sprint(err), string(encoded), logged,
	} {
		if strings.Contains(text, key.Password) || strings.Contains(text, key.String()[4:]) || text == "" {
			t.Errorf("the password is in %q, or nothing is", text)
		}
	}
}

// FuzzParse reads what strangers send: no text makes it fail, and what it takes for a
// key has this one spelling.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		aKey().String(), "", "pf1_", "pf2_x", "pf1_AAAA", made(), made("demo", "shop", "app", "pw", "shop"),
		made("demo", "shop", "app", "pw", "shop", ""), aKey().String() + "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := apikey.Parse(text)
		if err == nil && key.String() != text {
			t.Errorf("%q was read as %v, which is %q", text, key, key.String())
		}
		if err != nil && !errors.Is(err, apikey.ErrForeign) && !errors.Is(err, apikey.ErrDamaged) {
			t.Errorf("%q is refused by %v", text, err)
		}
	})
}

// FuzzKey makes keys of any fields: one that is made is read as it was, by the fields
// alone, whatever the lengths.
func FuzzKey(f *testing.F) {
	f.Add("demo", "shop", "app", "secret", "shop")
	f.Add("", "", "", "", "")
	f.Add("a", "b", "c", "", "d\x00")
	f.Fuzz(func(t *testing.T, namespace, pool, user, password, database string) {
		want := apikey.Key{Namespace: namespace, Pool: pool, User: user, Password: password, Database: database}
		text := want.String()
		if text == "" {
			return
		}
		if got, err := apikey.Parse(text); err != nil || got != want {
			t.Errorf("%v was read as %v, %v", want, got, err)
		}
	})
}
