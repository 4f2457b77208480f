// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// TestPluginActs runs the plugin's commands that do something, as a person would, on a
// pool that works and on pools that are broken.
func TestPluginActs(t *testing.T) {
	w := connect(t)
	w.install(t)
	s := w.begin(t)
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	p := &plugin{story: s, psql: playPsql(t)}
	t.Run("env prints what leads to the pool", p.env)
	t.Run("psql connects to the pool and past it", p.connects)
	t.Run("pause holds a client and resume lets it go on", p.pauses)
	t.Run("rotate returns once the new user works everywhere", p.rotates)
	t.Run("doctor finds nothing wrong", p.healthy)
	t.Run("doctor names what is broken", p.broken)
	t.Run("debug-bundle holds logs and no secret", p.bundles)
	t.Run("bad input is refused", p.refuses)
	if err := s.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// plugin is a story and a directory that has psql.
type plugin struct {
	*story
	psql string
}

// playPsql returns a directory with the psql that comes with PostgreSQL's image.
func playPsql(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(top(".cache/rootfs/postgres"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/postgresql/*/bin/psql"))
	if err != nil || len(found) == 0 {
		t.Fatalf("there is no psql under %s; `make .cache/stamps/rootfs-postgres` brings it: %v", root, err)
	}
	loaders, err := filepath.Glob(filepath.Join(root, "lib*/ld-linux*.so.*"))
	if err != nil || len(loaders) == 0 {
		t.Fatalf("there is no loader under %s: %v", root, err)
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil || len(libraries) == 0 {
		t.Fatalf("there are no libraries under %s: %v", root, err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec %s --library-path %s %s \"$@\"\n", loaders[0], libraries[0], found[0])
	if err := os.WriteFile(filepath.Join(dir, "psql"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// said is what a run of the plugin came to.
type said struct {
	out, err string
	code     int
}

// run runs the plugin in the story's namespace.
func (p *plugin) run(t *testing.T, args ...string) said {
	t.Helper()
	program, err := install.FindTool(top(".cache/bin"), "kubectl-poolfleet")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-n", p.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+p.psql+":"+os.Getenv("PATH"))
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return said{out.String(), problem.String(), exit.ExitCode()}
	}
	if err != nil {
		t.Fatalf("running the plugin: %v", err)
	}
	return said{out.String(), problem.String(), 0}
}

// fine is run that has to succeed. It does not print what may hold a password.
func (p *plugin) fine(t *testing.T, args ...string) string {
	t.Helper()
	got := p.run(t, args...)
	if got.code != 0 {
		t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), got.code, got.err)
	}
	return got.out
}

func (p *plugin) env(t *testing.T) {
	data := p.published(t, p.pool).Data
	for line := range strings.Lines(p.fine(t, "env", "shop")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if got, err := p.query(t.Context(), strings.Trim(value, `"`), "select 1"); err != nil || got != "1" {
			t.Errorf("%s leads nowhere: %q, %v", name, got, err)
		}
	}
	if got := p.fine(t, "env", "shop", "--format", "jdbc"); strings.TrimSpace(got) != string(data["jdbc-uri"]) {
		t.Error("--format jdbc is not the published URL")
	}
	var keys map[string]string
	if err := json.Unmarshal([]byte(p.fine(t, "env", "shop", "--format", "json")), &keys); err != nil || keys["password"] != string(data["password"]) {
		t.Errorf("--format json has not the published password: %v", err)
	}
	if got := p.run(t, "env", "shop", "--format", "wrangler"); got.code != 1 || !strings.Contains(got.err, "spec.edge.mode") {
		t.Errorf("a pool that workers do not reach: exit code %d: %s", got.code, got.err)
	}
}

func (p *plugin) connects(t *testing.T) {
	password := string(p.published(t, p.pool).Data["password"])
	const watch = `\! tr '\0' '\n' < /proc/$PPID/cmdline; tr '\0' '\n' < /proc/$PPID/environ`
	got := p.fine(t, "psql", "shop", "--", "-XAt", "-c", "select 'user ' || current_user", "-c", `\conninfo`, "-c", watch)
	for _, want := range []string{"user shop", "PGSSLMODE=verify-full", "PGHOST=shop-pool." + p.namespace + ".svc"} {
		if !strings.Contains(got, want) {
			t.Errorf("psql's output lacks %q", want)
		}
	}
	if !strings.Contains(got, "SSL Connection|true") {
		t.Error("psql's connection is not secured")
	}
	if strings.Contains(got, password) {
		t.Error("the password is on psql's command line or in its environment")
	}
	direct := p.fine(t, "psql", "shop", "--direct", "--", "-XAt", "-c", "select application_name from pg_stat_activity where pid = pg_backend_pid()")
	if strings.TrimSpace(direct) != "psql" {
		t.Errorf("--direct came to %q", direct)
	}
	if got := p.run(t, "psql", "shop", "--", "-X", "-v", "ON_ERROR_STOP=1", "-c", "nonsense"); got.code != 1 || !strings.Contains(got.err, "syntax error") {
		t.Errorf("a statement that is none: exit code %d: %s", got.code, got.err)
	}
}

func (p *plugin) pauses(t *testing.T) {
	if got := p.fine(t, "pause", "shop"); !strings.Contains(got, "Paused") {
		t.Errorf("pause says %q", got)
	}
	p.awaitHeld(t, p.pool)
	served := make(chan error, 1)
	pooled := string(p.published(t, p.pool).Data["DATABASE_URL"])
	ctx := t.Context()
	go func() {
		_, err := p.query(ctx, pooled, "select 1")
		served <- err
	}()
	if got := p.run(t, "psql", "shop", "--", "-c", "select 1"); got.code != 1 || !strings.Contains(got.err, "is paused") {
		t.Errorf("psql at a pool that is paused: exit code %d: %s", got.code, got.err)
	}
	if got := p.run(t, "doctor", "shop"); got.code != 1 || !strings.Contains(got.out, "kubectl poolfleet resume shop") {
		t.Errorf("doctor at a pool that is paused: exit code %d: %s", got.code, got.out)
	}
	select {
	case err := <-served:
		t.Errorf("a client was served during the pause: %v", err)
		return
	default:
	}
	p.fine(t, "resume", "shop")
	if err := <-served; err != nil {
		t.Errorf("a client that waited failed: %v", err)
	}
}

func (p *plugin) rotates(t *testing.T) {
	before := p.published(t, p.pool)
	var told struct{ Before, After string }
	if err := json.Unmarshal([]byte(p.fine(t, "rotate", "shop", "-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	after := p.published(t, p.pool)
	if told.Before != string(before.Data["username"]) || told.After != string(after.Data["username"]) || told.After == told.Before {
		t.Errorf("rotate says %+v", told)
	}
	for what, secret := range map[string]*corev1.Secret{"old": before, "new": after} {
		for range 4 { // Any of the poolers.
			if _, err := p.query(t.Context(), string(secret.Data["DATABASE_URL"]), "select 1"); err != nil {
				t.Errorf("with the %s user: %v", what, err)
			}
		}
	}
}

func (p *plugin) healthy(t *testing.T) {
	got := p.run(t, "doctor", "shop")
	if got.code != 0 || !strings.Contains(got.out, "answered through 2 of 2 poolers") || strings.Contains(got.out, "untried") {
		t.Errorf("exit code %d:\n%s", got.code, got.out)
	}
	t.Logf("doctor says:\n%s", got.out)
}

// broken makes pools that can not work, all at once, and has doctor look at each.
func (p *plugin) broken(t *testing.T) {
	wrongPassword := strings.Replace(p.url, passwordOf(t, p.url), "wrong"+p.secretWord(), 1)
	unknown := fmt.Sprintf("postgresql://shop:%s@nowhere.invalid/shop", p.secretWord())
	for _, c := range []struct {
		name        string
		secret      map[string]string
		edit        func(*poolv1.ConnectionPoolSpec)
		step, words string
	}{
		{"password", map[string]string{"DATABASE_URL": wrongPassword}, nil, "server", "AuthenticationFailed"},
		{"nosecret", nil, nil, "secret", "is not there"},
		{"nokey", map[string]string{"other": "x"}, nil, "secret", "holds no URL and no host"},
		{"nohost", map[string]string{"DATABASE_URL": unknown}, nil, "server", "HostUnknown"},
		{"full", map[string]string{"DATABASE_URL": p.url}, func(spec *poolv1.ConnectionPoolSpec) { spec.ServerConnections.Minimum = 1000 }, "budget", "InsufficientBudget"},
		{"rests", map[string]string{"DATABASE_URL": p.url}, withReplicas(0), "poolers", "spec.replicas is 0"},
		{"noimage", map[string]string{"DATABASE_URL": p.url}, func(spec *poolv1.ConnectionPoolSpec) { spec.Image = "localhost/nosuch:1" }, "poolers", "localhost/nosuch:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := aPool(p.namespace, c.name, lookingOften)
			if c.edit != nil {
				c.edit(&pool.Spec)
			}
			if c.secret != nil {
				p.create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: c.name + "-db"}, StringData: c.secret})
			}
			p.create(t, pool)
			eventually(t, "doctor names it", func() error { return p.finds(t, c.name, c.step, c.words) })
			p.delete(t, pool)
		})
	}
}

// finds is an error unless doctor's last fault is in this step and has these words.
func (p *plugin) finds(t *testing.T, pool, step, words string) error {
	t.Helper()
	got := p.run(t, "doctor", pool, "-o", "json")
	var findings []struct{ Step, Result, Says string }
	if err := json.Unmarshal([]byte(got.out), &findings); err != nil {
		return fmt.Errorf("exit code %d: %s: %w", got.code, got.err, err)
	}
	for _, f := range slices.Backward(findings) {
		if f.Result == "fault" {
			if got.code == 1 && f.Step == step && strings.Contains(f.Says, words) {
				return nil
			}
			break
		}
	}
	return fmt.Errorf("exit code %d: %s", got.code, got.out)
}

func (p *plugin) bundles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	t.Log(p.fine(t, "debug-bundle", "-o", file))
	files := untar(t, file)
	published := p.published(t, p.pool)
	for _, name := range []string{
		"objects/" + p.namespace + "/ConnectionPool/shop.yaml", "objects/cluster/Upstream/" + p.pool.Status.Upstream.Name + ".yaml", "secrets.yaml", "values/poolfleet.yaml",
	} {
		if files[name] == "" {
			t.Errorf("the bundle has no %s", name)
		}
	}
	for _, pod := range p.poolers(t, p.pool) {
		if !strings.Contains(files["logs/"+p.namespace+"/"+pod.Name+"/pooler.log"], "level") {
			t.Errorf("the bundle has no log of %s", pod.Name)
		}
		if !strings.Contains(files["metrics/"+p.namespace+"/"+pod.Name+".txt"], "# HELP") {
			t.Errorf("the bundle has no metrics of %s: %s", pod.Name, files["missing.txt"])
		}
	}
	var secrets []string
	for _, word := range append([]string{string(published.Data["password"]), passwordOf(t, p.url)}, p.passwords.all...) {
		secrets = append(secrets, word, url.QueryEscape(word), base64.StdEncoding.EncodeToString([]byte(word)))
	}
	for _, value := range []string{"DATABASE_URL", "DIRECT_URL", "jdbc-uri"} {
		secrets = append(secrets, string(published.Data[value]), base64.StdEncoding.EncodeToString(published.Data[value]))
	}
	for name, text := range files {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells a secret", name)
			}
		}
	}
}

// untar reads the files of a bundle.
func untar(t *testing.T, file string) map[string]string {
	t.Helper()
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "poolfleet-debug/")] = string(text)
	}
}

func (p *plugin) refuses(t *testing.T) {
	for _, c := range []struct {
		args  []string
		code  int
		words string
	}{
		{[]string{"env", "nosuch"}, 1, "no ConnectionPool nosuch"},
		{[]string{"env", "shop", "--format", "xml"}, 2, "xml"},
		{[]string{"psql", "nosuch"}, 1, "no ConnectionPool nosuch"},
		{[]string{"psql", "shop", "-c", "select 1"}, 2, "-c"},
		{[]string{"pause", "nosuch"}, 1, "no ConnectionPool nosuch"},
		{[]string{"pause"}, 2, "arg"},
		{[]string{"resume", "shop", "--timeout", "soon"}, 2, "soon"},
		{[]string{"rotate", "nosuch"}, 1, "no ConnectionPool nosuch"},
		{[]string{"doctor", "nosuch"}, 1, "no ConnectionPool nosuch"},
		{[]string{"doctor"}, 2, "arg"},
		{[]string{"debug-bundle", "-n", "nosuch"}, 1, "no ConnectionPool in namespace nosuch"},
		{[]string{"doctor", "shop", "--kubeconfig", "/nonexistent"}, 3, "nonexistent"},
	} {
		got := p.run(t, c.args...)
		if said := strings.Join(strings.Fields(got.err), " "); got.code != c.code || !strings.Contains(said, c.words) {
			t.Errorf("%s: exit code %d, want %d, with %q: %s", strings.Join(c.args, " "), got.code, c.code, c.words, got.err)
		}
	}
}
