// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// result is what a step of doctor comes to.
type result string

const (
	stepOK result = "ok"
	// stepNote is nothing that keeps clients from connecting, but worth knowing.
	stepNote  result = "note"
	stepFault result = "fault"
	// stepUntried is a step that makes no sense after the fault before it.
	stepUntried result = "untried"
)

// finding is what a step found.
type finding struct {
	Step   string `json:"step"`
	Result result `json:"result"`
	// Says is what was found. With a fault it mostly says what to do, too.
	Says string `json:"says"`
	// Do is what to do, where Says does not tell.
	Do string `json:"do,omitempty"`
	// last is whether what follows makes no sense.
	last bool
}

func found(format string, args ...any) finding {
	return finding{Result: stepOK, Says: fmt.Sprintf(format, args...)}
}

func noted(format string, args ...any) finding {
	return finding{Result: stepNote, Says: fmt.Sprintf(format, args...)}
}

func fault(do, format string, args ...any) finding {
	return finding{Result: stepFault, Says: fmt.Sprintf(format, args...), Do: do}
}

// ends is a finding after which nothing that follows makes sense.
func (f finding) ends() finding {
	f.last = true
	return f
}

// examination is a pool and what the steps have learned of it.
type examination struct {
	session *session
	pool    *poolv1.ConnectionPool
	// host and port are the server's, empty where they are not known.
	host string
	port uint16
	// poolers are the pods that take clients.
	poolers []corev1.Pod
	secret  *corev1.Secret
	visits  []visit
}

// steps go the way of a query, backwards: from the server to the client.
var steps = []struct {
	name string
	do   func(*examination, context.Context) finding
}{
	{"operator", (*examination).operator},
	{"secret", (*examination).upstreamSecret},
	{"dns", (*examination).dns},
	{"server", (*examination).server},
	{"budget", (*examination).budget},
	{"room", (*examination).room},
	{"poolers", (*examination).running},
	{"config", (*examination).config},
	{"published", (*examination).published},
	{"tls", (*examination).tls},
	{"login", (*examination).login},
	{"query", (*examination).query},
}

func newDoctorCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor POOL",
		Short: "Find out where a pool is broken, and what to do",
		Long: `Find out where a pool is broken, and what to do: from the Secret and the server,
over the budget and the poolers, to a query with the published user at every
pooler. The exit code is 1 where a fault was found.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: env.completePools,
		RunE:              func(cmd *cobra.Command, args []string) error { return env.doctor(cmd.Context(), args[0]) },
	}
}

func (e *environment) doctor(ctx context.Context, name string) error {
	s, err := e.session()
	if err != nil {
		return err
	}
	pool, err := s.pool(ctx, name)
	if err != nil {
		return err
	}
	x := &examination{session: s, pool: pool}
	findings := x.examine(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := e.print(findings, func(w io.Writer) error { return e.write(w, findings) }); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Result == stepFault {
			return errTold
		}
	}
	return nil
}

func (x *examination) examine(ctx context.Context) []finding {
	var findings []finding
	last := ""
	for _, step := range steps {
		f := finding{Result: stepUntried, Says: "needs " + last}
		if last == "" {
			f = step.do(x, ctx)
		}
		f.Step = step.name
		if f.last {
			last = f.Step
		}
		findings = append(findings, f)
	}
	return findings
}

// write is for people. Each step has its words in one place, so that eyes find them.
func (e *environment) write(w io.Writer, findings []finding) error {
	paints := map[result]func(string) string{stepOK: e.style().good, stepNote: e.style().warn, stepFault: e.style().bad}
	for _, f := range findings {
		shown := hung(fmt.Sprintf("%-7s  %-9s  ", f.Result, f.Step), f.Says)
		if f.Do != "" {
			shown += hung(strings.Repeat(" ", 20), "Do: "+f.Do)
		}
		if paint := paints[f.Result]; paint != nil {
			shown = strings.Replace(shown, string(f.Result), paint(string(f.Result)), 1)
		}
		if _, err := io.WriteString(w, shown); err != nil {
			return fmt.Errorf("writing the output: %w", err)
		}
	}
	return nil
}

// hung is text in lines that fit beside a margin; the first line has the margin's words.
func hung(margin, text string) string {
	var lines strings.Builder
	line, blank := margin, strings.Repeat(" ", utf8.RuneCountInString(margin))
	for word := range strings.FieldsSeq(text) {
		if utf8.RuneCountInString(line)+utf8.RuneCountInString(word) > columns && line != margin && line != blank {
			lines.WriteString(strings.TrimRight(line, " ") + "\n")
			line = blank
		}
		line += word + " "
	}
	return lines.String() + strings.TrimRight(line, " ") + "\n"
}
