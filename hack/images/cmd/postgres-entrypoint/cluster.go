// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// cluster is the data directory to be made. It is initialised beside its place
// and renamed, so a start that was interrupted leaves nothing half done behind.
type cluster struct {
	settings
	// bin is the directory with initdb and postgres.
	bin string
}

// initialise makes the data directory unless it is there; what is there is never changed.
func (c cluster) initialise() error {
	if _, err := os.Stat(filepath.Join(c.data, "PG_VERSION")); err == nil {
		return nil
	}
	if c.password == "" {
		return errors.New("initialising the data directory: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE")
	}
	fresh := c.data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clearing away an unfinished data directory: %w", err)
	}
	for _, step := range []func(string) error{c.initdb, admit, c.createDatabase} {
		if err := step(fresh); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, c.data); err != nil {
		return fmt.Errorf("putting the data directory in place (a volume is mounted one directory above PGDATA): %w", err)
	}
	return nil
}

// initdb hands the password over in a file that only we can read and that is
// gone when initdb is: it may not stand in an argument or a log.
func (c cluster) initdb(data string) error {
	if err := os.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return fmt.Errorf("making the place of the data directory: %w", err)
	}
	secret, err := os.CreateTemp(filepath.Dir(data), ".password-*")
	if err != nil {
		return fmt.Errorf("handing the password to initdb: %w", err)
	}
	defer func() { _ = os.Remove(secret.Name()) }()
	_, err = secret.WriteString(c.password + "\n")
	if err := errors.Join(err, secret.Close()); err != nil {
		return fmt.Errorf("handing the password to initdb: %w", err)
	}
	return c.run("", "initdb", "--pgdata="+data, "--username="+c.user, "--pwfile="+secret.Name(),
		"--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8")
}

// everyHost is a line of pg_hba.conf: any database, user and address, with a password.
const everyHost = "host all all all scram-sha-256\n" //nolint:dupword // Three fields, one word.

// admit lets every host in with a password; initdb itself admits loopback alone.
func admit(data string) error {
	file, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("admitting other hosts: %w", err)
	}
	_, err = file.WriteString(everyHost)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("admitting other hosts: %w", err)
	}
	return nil
}

// createDatabase uses single-user mode, where no client can get in between.
func (c cluster) createDatabase(data string) error {
	if c.database == "postgres" {
		return nil
	}
	statement := `CREATE DATABASE "` + strings.ReplaceAll(c.database, `"`, `""`) + `";` + "\n"
	return c.run(statement, "postgres", "--single", "-D", data, "postgres")
}

func (c cluster) run(input, program string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", program, err, strings.TrimSpace(output.String()))
	}
	// Single-user mode ends well even when a statement did not.
	if strings.Contains(output.String(), "ERROR:") {
		return fmt.Errorf("running %s: %s", program, strings.TrimSpace(output.String()))
	}
	return nil
}
