// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/config"
)

const (
	firstPause = time.Second
	longest    = 10 * time.Second
)

// Report tells how a component is doing.
type Report struct {
	Name     string `json:"name"`
	Running  bool   `json:"running"`
	Starts   int    `json:"starts"`
	LastExit string `json:"lastExit,omitempty"`
	Waiting  string `json:"waiting,omitempty"` // for what, before its first start
}

// supervisor starts components, starts them again when they end, and buries
// every process of the node that nobody else does.
type supervisor struct {
	dir     string // for logs and the report
	mu      sync.Mutex
	waiters map[int]chan unix.WaitStatus // by process number
	reports []Report
}

// supervise never returns: the node ends when its first process is killed.
func supervise(components []config.Component) {
	s := &supervisor{dir: "/var/log", waiters: map[int]chan unix.WaitStatus{}, reports: make([]Report, len(components))}
	for i, c := range components {
		s.reports[i].Name = c.Name
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for i, c := range components {
		go s.keep(i, c)
	}
	for range children {
		s.bury()
	}
}

// keep runs one component for ever.
func (s *supervisor) keep(index int, c config.Component) {
	for _, condition := range c.After {
		s.report(index, func(r *Report) { r.Waiting = condition })
		await(condition)
	}
	for pause := firstPause; ; pause = min(2*pause, longest) {
		began := time.Now()
		exit := s.run(index, c)
		s.report(index, func(r *Report) { r.Running, r.LastExit = false, exit })
		if time.Since(began) > time.Minute {
			pause = firstPause
		}
		time.Sleep(pause)
	}
}

// run runs a component once and tells how it ended.
func (s *supervisor) run(index int, c config.Component) string {
	log, err := s.openLog(c.Name)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	ended, err := s.start(c, log)
	if err != nil {
		return err.Error()
	}
	s.report(index, func(r *Report) { r.Running, r.Waiting, r.Starts = true, "", r.Starts+1 })
	status := <-ended
	if status.Signaled() {
		return fmt.Sprintf("killed by %s at %s", status.Signal(), time.Now().Format(time.TimeOnly))
	}
	return fmt.Sprintf("exit status %d at %s", status.ExitStatus(), time.Now().Format(time.TimeOnly))
}

// start registers the child before bury can see it end.
func (s *supervisor) start(c config.Component, log *os.File) (<-chan unix.WaitStatus, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Args[0] = c.Name
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	ended := make(chan unix.WaitStatus, 1)
	s.waiters[cmd.Process.Pid] = ended
	return ended, cmd.Process.Release()
}

// bury collects every child that has ended, orphans of containers included.
func (s *supervisor) bury() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended, ok := s.waiters[pid]; ok {
			delete(s.waiters, pid)
			ended <- status
		}
	}
}

// report changes a component's report and writes all of them.
func (s *supervisor) report(index int, change func(*Report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.reports[index])
	if err := writeReports(filepath.Join(s.dir, reportName), s.reports); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func writeReports(path string, reports []Report) error {
	data, err := json.MarshalIndent(reports, "", "  ")
	if err == nil {
		err = os.WriteFile(path+".new", data, 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("reporting on the components: %w", err)
	}
	return nil
}

// ReadReports reads what a node reported.
func ReadReports(path string) ([]Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the report on the components: %w", err)
	}
	var reports []Report
	if err := json.Unmarshal(data, &reports); err != nil {
		return nil, fmt.Errorf("reading the report on the components: %w", err)
	}
	return reports, nil
}

// openLog appends, so that restarts can be told from one another.
func (s *supervisor) openLog(name string) (*os.File, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	return log, nil
}
