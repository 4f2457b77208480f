// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"encoding/json"
	"regexp"
	"testing"
)

func call(name, args string) string {
	return `{"prisma__type":"generatorCall","prisma__value":{"name":"` + name + `","args":[` + args + `],"returnType":{"type":"String"}}}`
}

func TestGeneratorsMakeWhatTheirNamesSay(t *testing.T) {
	for name, test := range map[string]struct{ call, want string }{
		"now":             {call("now", ``), `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`},
		"uuid of 4":       {call("uuid", `4`), `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		"uuid of 7":       {call("uuid", `7`), `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`},
		"cuid of 1":       {call("cuid", `1`), `^c[0-9a-z]{24}$`},
		"cuid of 2":       {call("cuid", `2`), `^[a-z][0-9a-z]{23}$`},
		"ulid":            {call("ulid", ``), `^[0-7][0-9A-HJKMNP-TV-Z]{25}$`},
		"nanoid":          {call("nanoid", ``), `^[\w-]{21}$`},
		"nanoid of eight": {call("nanoid", `8`), `^[\w-]{8}$`},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for range 50 {
				data, err := runPlan(t, &replies{}, of(test.call), `{}`)
				var got string
				if err != nil || json.Unmarshal([]byte(data), &got) != nil || !regexp.MustCompile(test.want).MatchString(got) {
					t.Fatalf("got %s, %v", data, err)
				}
				if seen[got] && name != "now" {
					t.Fatalf("%s was made twice", got)
				}
				seen[got] = true
			}
		})
	}
}

func TestIdentifiersOfATimeAreInItsOrder(t *testing.T) {
	for name, generate := range map[string]func() string{"uuid7": uuid7, "ulid": ulid} {
		early := generate()[:8] // To 65 seconds and to one: later ones are not smaller.
		if late := generate()[:8]; late < early {
			t.Errorf("%s: %s comes after %s", name, late, early)
		}
	}
}

func TestOnePlanHasOneNow(t *testing.T) {
	data, err := runPlan(t, &replies{}, of(`[`+call("now", ``)+`,`+call("now", ``)+`]`), `{}`)
	var got []string
	if err != nil || json.Unmarshal([]byte(data), &got) != nil || got[0] != got[1] {
		t.Errorf("got %s, %v", data, err)
	}
}

func TestProductPairsAllWithAll(t *testing.T) {
	for args, want := range map[string]string{
		`[1,2],["a","b"]`: `[[1,"a"],[1,"b"],[2,"a"],[2,"b"]]`,
		`[1,2],"a"`:       `[[1,"a"],[2,"a"]]`,
		`1,["a","b"]`:     `[[1,"a"],[1,"b"]]`,
		`1,"a"`:           `[[1,"a"]]`,
		`[],["a"]`:        `[]`,
	} {
		if got, err := runPlan(t, &replies{}, of(call("product", args)), `{}`); err != nil || got != want {
			t.Errorf("%s: got %s, %v", args, got, err)
		}
	}
}

func TestGeneratorsRefuseOtherArguments(t *testing.T) {
	for _, call := range []string{call("uuid", `5`), call("cuid", ``), call("nanoid", `"x"`), call("nanoid", `-1`), call("product", `1`)} {
		if _, err := runPlan(t, &replies{}, of(call), `{}`); ErrorOf(err).Status != 500 {
			t.Errorf("%s gives %v", call, err)
		}
	}
}
