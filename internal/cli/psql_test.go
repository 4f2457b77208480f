// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// playPsql puts a program of that name first in PATH that writes down its arguments,
// its environment and its password file, and ends with a code.
func playPsql(t *testing.T, code int) (seen func(name string) string) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\ncd " + dir + "\nprintf '%s\\n' \"$@\" > args\nenv > env\ncat \"$PGPASSFILE\" > passfile\nstat -c %a \"$PGPASSFILE\" > mode\nexit " + strconv.Itoa(code) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "psql"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

// listening is a port of this machine that accepts connections.
func listening(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// here has a published Secret lead to this machine.
func here(secret *corev1.Secret, port string) *corev1.Secret {
	secret.Data["host"], secret.Data["port"] = []byte("127.0.0.1"), []byte(port)
	secret.Data["DIRECT_URL"] = []byte("postgresql://owner:direct%20word@127.0.0.1:" + port + "/shop?sslmode=disable&options=-c%20jit%3Doff")
	return secret
}

func TestPsqlTellsThePasswordInAFileAlone(t *testing.T) {
	seen := playPsql(t, 0)
	t.Setenv("PGPASSWORD", "of another server")
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	pool, secret := shop()
	port := listening(t)
	s := aStage(t, interceptor.Funcs{}, pool, here(secret, port))
	if code := s.run(t, "psql", "shop", "--", "-c", "select 1"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	if got, want := seen("passfile"), "127.0.0.1:"+port+`:*:app:p&ss\:w\\rd$1`+"\n"; got != want {
		t.Errorf("the password file has %q, want %q", got, want)
	}
	if got := seen("mode"); got != "600\n" {
		t.Errorf("the password file's mode is %s", got)
	}
	if got := seen("args"); got != "-c\nselect 1\n" {
		t.Errorf("psql's arguments are %q", got)
	}
	vars := strings.Split(seen("env"), "\n")
	for _, want := range []string{"PGHOST=127.0.0.1", "PGPORT=" + port, "PGUSER=app", "PGDATABASE=shop", "PGSSLMODE=verify-ca"} {
		if !slices.Contains(vars, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	if strings.Contains(seen("env"), stagePassword) || strings.Contains(seen("env"), "PGPASSWORD") {
		t.Error("a password is in the environment")
	}
	left, err := fs.Glob(os.DirFS(temporary), "poolfleet-psql-*")
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

func TestPsqlGoesPastThePool(t *testing.T) {
	seen := playPsql(t, 0)
	pool, secret := shop()
	s := aStage(t, interceptor.Funcs{}, pool, here(secret, listening(t)))
	if code := s.run(t, "psql", "shop", "--direct"); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	vars := strings.Split(seen("env"), "\n")
	for _, want := range []string{"PGUSER=owner", "PGSSLMODE=disable", "PGOPTIONS=-c jit=off"} {
		if !slices.Contains(vars, want) {
			t.Errorf("the environment lacks %s:\n%s", want, seen("env"))
		}
	}
	if !strings.HasSuffix(seen("passfile"), ":*:owner:direct word\n") {
		t.Error("the password file has not the server's password")
	}
}

func TestPsqlsExitCodeIsPassedOn(t *testing.T) {
	playPsql(t, 3)
	pool, secret := shop()
	s := aStage(t, interceptor.Funcs{}, pool, here(secret, listening(t)))
	if code := s.run(t, "psql", "shop"); code != 3 || s.err.Len() > 0 {
		t.Errorf("exit code %d, want 3, and nothing said: %s", code, s.err.String())
	}
}

func TestPsqlSaysWhyItDoesNotStart(t *testing.T) {
	pool, secret := shop()
	paused, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Spec.State = poolv1.PoolPaused })
	playPsql(t, 0)
	aStage(t, interceptor.Funcs{}).exits(t, exitWrong, "no ConnectionPool shop", "psql", "shop")
	aStage(t, interceptor.Funcs{}).exits(t, exitUsage, "name a pool", "psql")
	aStage(t, interceptor.Funcs{}).exits(t, exitUsage, "put what is for psql after --: psql shop -- other", "psql", "shop", "other")
	aStage(t, interceptor.Funcs{}, pool, secret).exits(t, exitUsage, "--csv", "psql", "shop", "-o", "json")
	aStage(t, interceptor.Funcs{}, paused, secret).exits(t, exitWrong, "is paused", "psql", "shop")
	aStage(t, interceptor.Funcs{}, pool).exits(t, exitWrong, "Secret shop-pool", "psql", "shop")
	aStage(t, interceptor.Funcs{}, pool, secret).exits(t, exitWrong, "this machine does not reach shop-pool.demo.svc", "psql", "shop")
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop-pool"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "shop"}, Ports: []corev1.ServicePort{{Port: 5432}}},
	}
	aStage(t, interceptor.Funcs{}, pool, secret, service).exits(t, exitWrong, "no pod behind Service demo/shop-pool is ready", "psql", "shop")
	t.Setenv("PATH", t.TempDir())
	aStage(t, interceptor.Funcs{}, pool, secret).exits(t, exitWrong, "psql is not installed on this machine: install", "psql", "shop")
}

func TestTheCertificateIsVerifiedAsFarAsItCanBe(t *testing.T) {
	named, secret := shop()
	other, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Status.TLS.DNSNames = []string{"db.example.com"} })
	plain, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Spec.TLS.Mode = poolv1.ClientTLSDisable })
	public, _ := shop(func(pool *poolv1.ConnectionPool) { pool.Spec.TLS.Mode = poolv1.ClientTLSRequire })
	unsigned := map[string][]byte{"host": secret.Data["host"]}
	for _, c := range []struct {
		pool *poolv1.ConnectionPool
		data map[string][]byte
		want string
	}{
		{named, secret.Data, sslVerifyFull},
		{other, secret.Data, sslVerifyCA},
		{plain, secret.Data, sslDisable},
		{public, unsigned, sslRequire},
		{named, unsigned, sslPrefer},
	} {
		if got := pooledTLS(c.pool, c.data); got != c.want {
			t.Errorf("sslmode is %s, want %s", got, c.want)
		}
	}
}

func TestAHostIsReadAsAService(t *testing.T) {
	for host, want := range map[string]client.ObjectKey{
		"postgres":                           {Namespace: "demo", Name: "postgres"},
		"postgres.db":                        {Namespace: "db", Name: "postgres"},
		"postgres.db.svc":                    {Namespace: "db", Name: "postgres"},
		"postgres.db.svc.cluster.local.":     {Namespace: "db", Name: "postgres"},
		"ep-cool.eu-central-1.aws.neon.tech": {},
		"10.1.2.3":                           {},
	} {
		if got, ok := serviceOf(host, "demo"); got != want || ok == (want == client.ObjectKey{}) {
			t.Errorf("%s is read as %v, want %v", host, got, want)
		}
	}
}
