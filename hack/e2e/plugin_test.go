// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// TestPlugin runs the plugin's commands that look, as kubectl runs them, on a pool whose
// clients are busy. Those that act are TestPluginActs'.
func TestPlugin(t *testing.T) {
	w := connect(t)
	w.install(t)
	s := w.begin(t)
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	stop := s.busy(t, s.pool, 8)
	t.Run("status shows the pool and what goes through it", s.pluginStatus)
	t.Run("budget is the server's account", s.pluginBudget)
	t.Run("top has the busiest first", s.pluginTop)
	t.Run("plan says what fits", s.pluginPlan)
	t.Run("bad input is refused", s.pluginRefuses)
	stop()
	s.remove(t, s.pool)
	if err := s.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// pluginAnswer is what a command says, and its exit code.
type pluginAnswer struct {
	out, err string
	code     int
}

// runsPlugin runs `kubectl poolfleet` in the story's namespace, with something to read.
func (s *story) runsPlugin(t *testing.T, input string, args ...string) pluginAnswer {
	t.Helper()
	program, err := install.FindTool(top(".cache/bin"), "kubectl-poolfleet")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), s.tools.Kubectl, append([]string{"poolfleet", "-n", s.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(input)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err = cmd.Run()
	exit, _ := errors.AsType[*exec.ExitError](err)
	if err != nil && exit == nil {
		t.Fatalf("running kubectl: %v", err)
	}
	return pluginAnswer{out.String(), problem.String(), cmd.ProcessState.ExitCode()}
}

// shows runs a command, logs what a person sees, and decodes what a program is told.
func (s *story) shows(t *testing.T, told any, input string, args ...string) pluginAnswer {
	t.Helper()
	got := s.runsPlugin(t, input, args...)
	t.Logf("kubectl poolfleet %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.out, got.err)
	for line := range strings.Lines(got.out) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("a line does not fit 80 columns: %s", line)
		}
	}
	data := s.runsPlugin(t, input, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(data.out), told); err != nil || data.code != got.code {
		t.Fatalf("-o json: exit code %d, and without it %d: %v: %s", data.code, got.code, err, data.err)
	}
	return got
}

// pluginTraffic is what a program reads of a pool's or a pooler's clients.
type pluginTraffic struct {
	Name, Pool       string
	Ready            bool
	Held             *int32
	Clients          *int64
	QueriesPerSecond *float64
	Poolers          []pluginTraffic
}

// busyNow is an error unless clients and queries are seen.
func (p pluginTraffic) busyNow() error {
	if p.Clients == nil || *p.Clients == 0 || p.QueriesPerSecond == nil || *p.QueriesPerSecond <= 0 {
		return fmt.Errorf("neither clients nor queries are seen: %+v", p)
	}
	return nil
}

func (s *story) pluginStatus(t *testing.T) {
	var told struct {
		Pools []pluginTraffic
		Notes []string
	}
	eventually(t, "status sees the clients", func() error {
		got := s.runsPlugin(t, "", "status", "-o", "json")
		if err := json.Unmarshal([]byte(got.out), &told); err != nil {
			return fmt.Errorf("exit code %d: %s: %w", got.code, got.err, err)
		}
		if len(told.Pools) != 1 || !told.Pools[0].Ready || len(told.Notes) > 0 {
			return fmt.Errorf("exit code %d: %s", got.code, got.out)
		}
		return told.Pools[0].busyNow()
	})
	if got := s.shows(t, &told, "", "status", "shop"); got.code != 0 || len(told.Pools[0].Poolers) != 2 {
		t.Errorf("status of the pool: exit code %d, %d poolers", got.code, len(told.Pools[0].Poolers))
	}
	if got := s.shows(t, &told, "", "status", "-A"); !strings.Contains(got.out, "/shop") {
		t.Error("status -A does not name the pool with its namespace")
	}
}

func (s *story) pluginBudget(t *testing.T) {
	s.get(t, s.pool)
	var told []struct {
		Name         string
		Budget, Held int32
		Pools        []struct{ Namespace, Name string }
	}
	got := s.shows(t, &told, "", "budget", s.pool.Status.Upstream.Name)
	if got.code != 0 || len(told) != 1 || told[0].Budget != 34 || told[0].Held > 34 || len(told[0].Pools) != 1 {
		t.Errorf("of 40 connections 3 are reserved and 3 left to others; exit code %d, %+v", got.code, told)
	}
	if !strings.Contains(got.out, "34  budget of all pools") {
		t.Error("the account does not come to the budget")
	}
}

func (s *story) pluginTop(t *testing.T) {
	var told struct{ Pools, Poolers []pluginTraffic }
	got := s.shows(t, &told, "", "top", "--interval", "2s")
	if got.code != 0 || len(told.Pools) != 1 || len(told.Poolers) != 2 {
		t.Fatalf("exit code %d, %+v", got.code, told)
	}
	if err := told.Poolers[0].busyNow(); err != nil {
		t.Errorf("the first pooler: %v", err)
	}
}

// aPlan is a file with a pool beside the story's.
func aPlan(minimum int) string {
	return fmt.Sprintf(`apiVersion: poolfleet.dev/v1alpha1
kind: ConnectionPool
metadata:
  name: orders
spec:
  upstream:
    secretRef:
      name: shop-db
  serverConnections:
    minimum: %d
`, minimum)
}

func (s *story) pluginPlan(t *testing.T) {
	var told struct {
		Fits    *bool
		Servers []struct {
			Pools []struct{ Name, Change string }
		}
	}
	if got := s.shows(t, &told, aPlan(10), "plan", "-f", "-"); got.code != 0 || told.Fits == nil || !*told.Fits || len(told.Servers[0].Pools) != 2 {
		t.Errorf("a plan that fits: exit code %d, %+v", got.code, told)
	}
	if got := s.shows(t, &told, aPlan(35), "plan", "-f", "-"); got.code != 1 || *told.Fits {
		t.Errorf("a minimum of 35 and a budget of 34: exit code %d, %+v", got.code, told)
	}
	unseen := strings.Replace(aPlan(10), "shop-db", "nosuch", 1)
	if got := s.runsPlugin(t, unseen, "plan", "-f", "-"); got.code != 0 || !strings.Contains(got.out, "not known yet") {
		t.Errorf("a server that is not known: exit code %d: %s", got.code, got.out)
	}
	if got := s.runsPlugin(t, "", "status", "orders"); got.code != 1 {
		t.Errorf("what was planned is there: exit code %d", got.code)
	}
}

func (s *story) pluginRefuses(t *testing.T) {
	for _, c := range []struct {
		input string
		args  []string
		code  int
		words string
	}{
		{"", []string{"status", "nosuch"}, 1, "no ConnectionPool nosuch"},
		{"", []string{"status", "shop", "-A"}, 2, "a pool is in one namespace"},
		{"", []string{"status", "-o", "xml"}, 2, "json or yaml"},
		{"", []string{"budget", "nosuch"}, 1, "no Upstream nosuch"},
		{"", []string{"top", "--interval", "0s"}, 2, "--interval"},
		{"", []string{"plan"}, 2, "filename"},
		{"kind: Pod\n", []string{"plan", "-f", "-"}, 2, "no ConnectionPool"},
		{aPlan(0), []string{"plan", "-f", "-"}, 2, "input:10: spec.serverConnections.minimum"},
		{strings.Replace(aPlan(1), "minimum", "least", 1), []string{"plan", "-f", "-"}, 2, `input:10: unknown field "spec.serverConnections.least"`},
		{"", []string{"nonsense"}, 2, "unknown command"},
		{"", []string{"top", "--kubeconfig", "/nonexistent"}, 3, "nonexistent"},
	} {
		got := s.runsPlugin(t, c.input, c.args...)
		if words := strings.Join(strings.Fields(got.err), " "); got.code != c.code || !strings.Contains(words, c.words) {
			t.Errorf("%s: exit code %d, want %d, with %q: %s", strings.Join(c.args, " "), got.code, c.code, c.words, got.err)
		}
	}
}
