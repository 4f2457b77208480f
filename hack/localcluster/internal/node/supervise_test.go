// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/config"
)

func TestAComponentsEndIsToldWithItsLog(t *testing.T) {
	for name, c := range map[string]struct{ script, exit, log string }{
		"one that fails":    {"echo no room; exit 3", "exit status 3", "no room\n"},
		"one that is ended": {"kill -9 $$", "killed by killed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &supervisor{dir: t.TempDir(), waiters: map[int]chan unix.WaitStatus{}, reports: []Report{{Name: "shell"}}}
			stop := burying(s)
			exit := s.run(0, config.Component{Name: "shell", Path: "/bin/sh", Args: []string{"-c", c.script}})
			stop()
			if exit = exit[:len(exit)-len(" at 15:04:05")]; exit != c.exit {
				t.Errorf("it ended with %q, want %q", exit, c.exit)
			}
			log, err := os.ReadFile(filepath.Join(s.dir, "shell.log"))
			if err != nil || string(log) != c.log {
				t.Errorf("its log is %q (%v), want %q", log, err, c.log)
			}
			reports, err := ReadReports(filepath.Join(s.dir, reportName))
			if diff := cmp.Diff([]Report{{Name: "shell", Running: true, Starts: 1}}, reports); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
}

func TestAComponentThatIsNotThereIsToldByName(t *testing.T) {
	s := &supervisor{dir: t.TempDir(), waiters: map[int]chan unix.WaitStatus{}, reports: []Report{{}}}
	exit := s.run(0, config.Component{Name: "etcd", Path: "/nowhere/etcd"})
	if want := "starting etcd: fork/exec /nowhere/etcd: no such file or directory"; exit != want {
		t.Errorf("got %q, want %q", exit, want)
	}
}

// burying stands in for the signal by which the kernel tells of a child's end.
func burying(s *supervisor) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				s.bury()
			}
		}
	}()
	return func() { close(done); <-stopped }
}
