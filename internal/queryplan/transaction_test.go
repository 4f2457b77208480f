// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTransactionsOfAPlanEndWithIt(t *testing.T) {
	inner := `{"type":"transaction","args":` + rawQuery("b", "", "") + `}`
	plan := `{"type":"transaction","args":{"type":"seq","args":[` + rawQuery("a", "", "") + `,` + inner + `]}}`
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		open bool
		errs map[string]error
		want string
	}{
		"that goes well":        {want: "BEGIN a b COMMIT"},
		"that fails":            {errs: map[string]error{"b": broken}, want: "BEGIN a b ROLLBACK"},
		"that cannot begin":     {errs: map[string]error{"BEGIN": broken}, want: "BEGIN"},
		"that cannot commit":    {errs: map[string]error{"COMMIT": broken}, want: "BEGIN a b COMMIT"},
		"within the client's":   {open: true, want: "a b"},
		"that fails in another": {open: true, errs: map[string]error{"a": broken}, want: "a"},
		"whose rollback fails":  {errs: map[string]error{"a": broken, "ROLLBACK": errors.New("worse")}, want: "BEGIN a ROLLBACK"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &replies{errs: test.errs}
			_, err := decodeBody(t, `{"operation":"x","plan":`+plan+`,"params":{}}`).Run(t.Context(), conn, test.open, nil)
			if diff := cmp.Diff(test.want, strings.Join(conn.sent, " ")); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (test.errs != nil) || err != nil && !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestStatementsCarryTheClientsComments(t *testing.T) {
	conn := &replies{}
	body := `{"operation":"x","plan":` + rawQuery("select 1", "", "") + `,"params":{},"comments":{"route":"/a b","App":"it's */","action":"find"}}`
	if _, err := decodeBody(t, body).Run(t.Context(), conn, false, nil); err != nil {
		t.Fatal(err)
	}
	want := `select 1 /*action='find',App='it\'s%20*%2F',route='%2Fa%20b'*/`
	if diff := cmp.Diff(want, conn.sent[0]); diff != "" {
		t.Error(diff)
	}
}

func TestVersionsAreReadAsClientsWriteThem(t *testing.T) {
	for text, want := range map[string]Version{"7.10.1": {7, 10}, "6.19.0-dev.3": {6, 19}} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "7.10", "x.y.z", "7.-1.0", "99999999.1.1", strings.Repeat("7", 1000) + ".1.1"} {
		if got, err := ParseVersion(text); err == nil || len(err.Error()) > 200 {
			t.Errorf("%.20s is %v, %v", text, got, err)
		}
	}
}

func TestSupportedVersionsAreThoseOfThePlansThatWeKnow(t *testing.T) {
	for version, want := range map[Version]bool{
		{6, 15}: false, {6, 16}: true, {6, 19}: true, {6, 20}: false, {7, 0}: true, {7, 10}: true, {7, 11}: false, {5, 22}: false, {8, 0}: false,
	} {
		if version.Supported() != want {
			t.Errorf("%v is supported: %v", version, !want)
		}
	}
	for _, version := range Supported() {
		if !version.Supported() {
			t.Errorf("%v is listed, but not supported", version)
		}
	}
}
