// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Prometheus runs a Prometheus beside files, which it finds by their names and nobody
// else may read, until the test ends. Its configuration is prometheus.yml. It returns
// the URL that it answers at, after a moment.
func Prometheus(t testing.TB, files func(dir string) map[string][]byte) string {
	t.Helper()
	root := Rootfs(t, "prometheus")
	outside, inside := RunDir(t, root)
	for name, data := range files(inside) {
		path := filepath.Join(outside, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, UserID, UserID); err != nil {
			t.Fatal(err)
		}
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(FreePort(t))))
	var log Buffer
	cmd := CommandContext(t.Context(), t, root, "/usr/bin/prometheus", "--config.file=prometheus.yml",
		"--storage.tsdb.path="+inside+"/data", "--web.listen-address="+address, "--log.level=warn")
	cmd.Dir, cmd.Stdout, cmd.Stderr = inside, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", &log)
		}
	})
	return "http://" + address
}
