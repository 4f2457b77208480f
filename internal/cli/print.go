// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// outputs are the values of -o.
var outputs = []string{"json", "yaml"}

// columns is how wide output may be, so that it fits every terminal.
const columns = 80

// print writes v as -o asks, or for people as human does.
func (e *environment) print(v any, human func(w io.Writer) error) error {
	if e.output == "" {
		return human(e.streams.Out)
	}
	encode := func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
	if e.output == "yaml" {
		encode = yaml.Marshal
	}
	data, err := encode(v)
	if err != nil {
		return fmt.Errorf("encoding the output: %w", err)
	}
	if e.output == "json" {
		data = append(data, '\n')
	}
	if _, err := e.streams.Out.Write(data); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}

// say tells people what is beside the answer. Programs that read -o do not see it.
func (e *environment) say(format string, args ...any) {
	wrap(e.streams.ErrOut, fmt.Sprintf(format, args...))
}

// style colours words, or leaves them as they are.
type style struct{ on bool }

// style has colours only on a terminal, and where NO_COLOR is not set (no-color.org).
func (e *environment) style() style {
	file, ok := e.streams.Out.(*os.File)
	plain := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || e.output != ""
	return style{on: ok && !plain && term.IsTerminal(int(file.Fd()))}
}

func (s style) good(text string) string { return s.paint("32", text) }
func (s style) warn(text string) string { return s.paint("33", text) }
func (s style) bad(text string) string  { return s.paint("31", text) }

func (s style) paint(code, text string) string {
	if !s.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
