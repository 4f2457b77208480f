// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

func TestAFrozenPgBouncerIsReplaced(t *testing.T) {
	t.Parallel()
	server := aServer(t)
	p := aPod(t)
	p.options.Silence = 9 * time.Second
	p.start()
	p.grant(1, 5, p.config(aConfig(server)))
	p.runs(1, 5)
	if err := p.commands[0].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if p.ready() {
		t.Error("it is ready")
	}
	if s, ok := p.status(); ok {
		t.Errorf("it gives the status %+v", s)
	}
	eventually(t, "another was started", func() bool {
		if code, _ := p.get("/healthz", nil); code != 200 {
			t.Error("it is unhealthy, so that the container is restarted, too")
		}
		return p.starts() == 2
	})
	p.runs(1, 5)
	eventually(t, "it is ready", p.ready)
	expectAnswer(t, p.knocks())
	t.Logf("it took %s, of a silence of %s", time.Since(begin), p.options.Silence)
}

// fill takes all the room in a directory; the file it returns is what takes it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 4096; size > 0; {
		if _, err := io.WriteString(file, strings.Repeat("x", size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func TestAFullDiskKeepsWhatRunsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	server := aServer(t, "second")
	p := aPod(t)
	if err := syscall.Mount("tmpfs", p.options.RunDir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(p.options.RunDir, syscall.MNT_DETACH) })
	if err := os.Chown(p.options.RunDir, testenv.UserID, testenv.UserID); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.grant(1, 6, p.config(aConfig(server)))
	p.runs(1, 6)
	filler := fill(t, p.options.RunDir)
	p.grant(2, 4, p.config(aConfig(server, "second")))
	p.await("it says why nothing changes", func(s contract.Status) bool { return strings.Contains(s.Problem, "no space left") })
	p.runs(1, 6)
	expectAnswer(t, p.knocks())
	p.killPgBouncer()
	eventually(t, "it was started again", func() bool { return p.starts() > 1 && p.ready() })
	expectAnswer(t, p.knocks())
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p.runs(2, 4)
	p.await("it is content", func(s contract.Status) bool { return s.Problem == "" })
}

func TestAMemoryThatCanNotBeReadLocksNoPodOut(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"torn": `{"uid":"`, "empty": "", "of another shape": `{"seen":[]}`, "with a configuration of another shape": `{"uid":"x","config":"e30=e"}`,
		"with a configuration of tomorrow": `{"uid":"x","config":"eyJ2ZXJzaW9uIjo5OX0="}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := aPod(t)
			if err := os.WriteFile(filepath.Join(p.options.RunDir, "memory.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p.start()
			eventually(t, "it is healthy", func() bool { code, _ := p.get("/healthz", nil); return code == 200 })
			p.grant(3, 5, p.config(aConfig(nil)))
			p.runs(3, 5)
			p.kill()
			p.start()
			p.runs(3, 5)
			if got := strings.Count(p.log.String(), "is lost"); got != 1 {
				t.Errorf("%d lines of the log are about it, want one", got)
			}
		})
	}
}

func TestASmallerShareIsObeyedBeforeItsConfigurationIsHere(t *testing.T) {
	t.Parallel()
	server := aServer(t, "second")
	p := aPod(t).start()
	p.grant(1, 8, p.config(aConfig(server)))
	p.runs(1, 8)
	clients := p.load(10, "select pg_sleep(0.002)", "shop")
	_, revision, err := contract.Document{Version: contract.DocumentVersion, StatusKey: statusKey, PgBouncer: aConfig(server, "second")}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p.grant(2, 3, revision)
	p.settled(1, 3)
	p.grant(3, 20, revision)
	time.Sleep(aWhile)
	p.runs(1, 3)
	if got := p.config(aConfig(server, "second")); got != revision {
		t.Fatalf("the configuration is %s, want %s", got, revision)
	}
	p.runs(3, 20)
	clients.end(t)
}
