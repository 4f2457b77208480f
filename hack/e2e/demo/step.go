// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// step is one thing the demo does.
type step struct {
	title string
	// expect says how long it may take.
	expect string
	// do does it, and returns what there is to say about it.
	do func(context.Context) (string, error)
}

func (s step) run(ctx context.Context, out io.Writer, number, total int) error {
	fmt.Fprintf(out, "\n[%d/%d] %s (%s)\n", number, total, s.title, s.expect)
	started := time.Now()
	note, err := s.do(ctx)
	if err != nil {
		return fmt.Errorf("step %d, %s: %w", number, s.title, err)
	}
	fmt.Fprint(out, indent(note))
	fmt.Fprintf(out, "      done in %.1f s\n", time.Since(started).Seconds())
	return nil
}

func indent(text string) string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return ""
	}
	return "      " + strings.ReplaceAll(text, "\n", "\n      ") + "\n"
}
