// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/poolfleet/poolfleet/hack/docs"
	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// TestNewcomer pastes what README.md says, in its order, into a shell that has nothing
// but kubectl and a file with a database's URL.
func TestNewcomer(t *testing.T) {
	w := connect(t)
	w.install(t)
	server := w.startServer(t, install.Postgres{Namespace: w.namespace(t), Name: "postgres"})
	dir := t.TempDir()
	url := "DATABASE_URL=" + server.role(t, "shop", "") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "db.env"), []byte(url), 0o600); err != nil {
		t.Fatal(err)
	}
	namespace := "newcomer-" + server.Namespace
	t.Cleanup(func() {
		_ = w.client.Delete(context.WithoutCancel(t.Context()), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	})
	readme, err := docs.Read(top(""), "README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.NewReplacer(
		"-n demo", "-n "+namespace, "namespace demo", "namespace "+namespace,
		"image: postgres:18", "image: "+w.chart.Images.Postgres.Reference, // No registry is within reach.
	).Replace(script(readme, "TestNewcomer"))
	if count := strings.Count("\n"+commands, "\nkubectl "); count == 0 || count >= 10 {
		t.Errorf("the way from README.md to a pool takes %d commands", count)
	}
	said := w.paste(t, dir, commands)
	for _, want := range []string{"shop", "condition met", "(1 row)"} {
		if !strings.Contains(said, want) {
			t.Errorf("the newcomer does not see %q in\n%s", want, said)
		}
	}
	w.remove(t, aPool(namespace, "shop"))
	if err := w.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestPages pastes the commands of pages about a pool that runs, in whose namespace the
// reader is.
func TestPages(t *testing.T) {
	w := connect(t)
	w.install(t)
	s := w.begin(t)
	s.create(t, aSecret(s.namespace, "shop-db", s.url))
	s.create(t, s.pool)
	s.awaitReady(t, s.pool)
	dir := s.settled(t)
	pages, err := docs.All(top(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		commands := script(page, "TestPages")
		if commands == "" {
			continue
		}
		t.Run(page.Path, func(t *testing.T) {
			w.paste(t, dir, strings.ReplaceAll(commands, "upstream db.example.com", "upstream "+s.pool.Status.Upstream.Name))
			s.awaitReady(t, s.pool)
		})
	}
	s.remove(t, s.pool)
	if err := w.chart.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// settled returns a directory with a kubeconfig whose namespace is the story's.
func (s *story) settled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	config, err := os.ReadFile(os.Getenv("KUBECONFIG"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kubeconfig"), config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.paste(t, dir, "kubectl config set-context --current --namespace "+s.namespace)
	return dir
}

// script is the blocks of a page that name the test.
func script(page docs.Page, test string) string {
	var script strings.Builder
	for _, block := range page.RunBy(test) {
		script.WriteString(block.Text)
	}
	return script.String()
}

// paste runs a script as a person would who stops at the first failure, prints it, and
// returns what it says. A kubeconfig in dir goes before the tests'.
func (w *world) paste(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if _, err := os.Stat(kubeconfig); err != nil {
		kubeconfig = os.Getenv("KUBECONFIG")
	}
	absolute, err := filepath.Abs(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "KUBECONFIG="+absolute, "PATH="+filepath.Dir(w.tools.Kubectl)+":"+os.Getenv("PATH"))
	said, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", script, said)
	if err != nil {
		t.Fatalf("pasting the commands: %v", err)
	}
	return string(said)
}
