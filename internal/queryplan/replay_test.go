// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded is a request of a real client, and what Prisma's own executor answered with
// the same rows: the JSON of "data", or of an error.
type recorded struct {
	Name    string          `json:"name"`
	Status  int             `json:"status"`
	Request json.RawMessage `json:"request"`
	Answer  string          `json:"answer"`
}

// The files of testdata are named by the client's version.
func TestPlansGiveWhatPrismasOwnExecutorGives(t *testing.T) {
	db := newDatabase(t)
	files, err := filepath.Glob("testdata/plans-*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded plans: %v", err)
	}
	for _, file := range files {
		version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "plans-"), ".jsonl")
		t.Run(version, func(t *testing.T) {
			for line := range strings.Lines(read(t, file)) {
				var one recorded
				if err := json.Unmarshal([]byte(line), &one); err != nil {
					t.Fatal(err)
				}
				t.Run(one.Name, func(t *testing.T) { db.replay(t, version, one) })
			}
		})
	}
}

func (d *database) replay(t *testing.T, version string, one recorded) {
	t.Helper()
	d.reset(t)
	parsed, err := ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	request, err := Decode(one.Request, parsed, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	data, err := request.Run(t.Context(), d, false, nil)
	if status := d.conn.TxStatus(); status != 'I' {
		t.Errorf("the connection's transaction status is %c afterwards", status)
	}
	if err == nil {
		checkAnswer(t, one, 200, data)
		return
	}
	told := ErrorOf(err)
	written, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, one, told.Status, unescapeHTML(t, written))
}

func checkAnswer(t *testing.T, want recorded, status int, data []byte) {
	t.Helper()
	if status != want.Status {
		t.Errorf("status %d, want %d", status, want.Status)
	}
	if diff := cmp.Diff(want.Answer, string(data)); diff != "" {
		t.Error("the answer is not the executor's (-its +ours):\n" + diff)
	}
}

// unescapeHTML writes JSON without the escapes of encoding/json that no other writer has.
func unescapeHTML(t *testing.T, text []byte) []byte {
	t.Helper()
	for escape, plain := range map[string]string{`\u003c`: "<", `\u003e`: ">", `\u0026`: "&"} {
		text = bytes.ReplaceAll(text, []byte(escape), []byte(plain))
	}
	return text
}
