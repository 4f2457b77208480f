// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"testing"
)

// Listening runs a program of ours in Node.js until the test is over. It is told what it
// needs in a line of JSON, where told is not nil, says in a line {"url"} where it listens,
// and ends with its input. Said is what else it says.
func Listening(t *testing.T, name string, cmd *exec.Cmd, told any) (url string, said *Buffer) {
	t.Helper()
	said = &Buffer{}
	cmd.Stderr = said
	input, err1 := cmd.StdinPipe()
	output, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close() // Its input's end is also the end of one whose test has died.
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v: %s", name, err, said)
		} else if t.Failed() {
			t.Logf("%s said: %s", name, said)
		}
	})
	if told != nil {
		if err := json.NewEncoder(input).Encode(told); err != nil {
			t.Fatal(err)
		}
	}
	var listens struct{ URL string }
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err := errors.Join(err, json.Unmarshal(line, &listens)); err != nil {
		t.Fatalf("reading where %s listens: %v: %s", name, err, said)
	}
	go func() { _, _ = io.Copy(io.Discard, output) }()
	return listens.URL, said
}
