// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is a running PgBouncer.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	// exited is closed when it has ended and err is set.
	exited chan struct{}
	err    error
}

// start runs a command and passes each line it says to say. It takes no goroutine
// of exec.Cmd, so that the end is seen even if a child keeps the pipe.
func start(cmd *exec.Cmd, say func(line string)) (*process, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting PgBouncer: %w", err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	err = cmd.Start()
	_ = writer.Close()
	if err != nil {
		_ = reader.Close()
		return nil, fmt.Errorf("starting PgBouncer: %w", err)
	}
	p := &process{cmd: cmd, started: time.Now(), exited: make(chan struct{})}
	said := make(chan struct{})
	go func() {
		defer close(said)
		defer reader.Close()
		readLines(reader, say)
	}()
	go func() {
		p.err = cmd.Wait()
		select { // Its last words first.
		case <-said:
		case <-time.After(time.Second):
		}
		close(p.exited)
	}()
	return p, nil
}

// readLines reads to the end, whatever comes: a pipe that nobody reads would stop PgBouncer.
func readLines(from io.Reader, say func(line string)) {
	reader := bufio.NewReaderSize(from, 16<<10)
	for {
		line, cut, err := reader.ReadLine()
		if err != nil {
			return
		}
		text := string(line)
		for cut && err == nil {
			_, cut, err = reader.ReadLine()
		}
		say(text)
	}
}

// signal is for a process that may have ended.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling PgBouncer: %w", err)
	}
	return nil
}

// unwedge ends a PgBouncer that has not answered for a third of what a container may be
// silent, so that another is started before the container is.
func (s *Supervisor) unwedge() {
	if silent := time.Since(s.view.look().lastAnswer); silent > s.Silence/3 && !s.process.ended() {
		s.Log.Error("PgBouncer does not answer and is killed", "silent", silent.String())
		s.kill()
	}
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}
