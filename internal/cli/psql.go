// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func newPsqlCommand(env *environment) *cobra.Command {
	var direct bool
	cmd := &cobra.Command{
		Use:   "psql POOL [--direct] [-- psql's arguments]",
		Short: "Open psql at a pool, or at the server behind it",
		Long: `Open psql at a pool, or with --direct at the server behind it, as the user that
the pool publishes. Where this machine has no route to a Service of the cluster,
the connection goes through the API server; its certificate is verified all the
same. The exit code is psql's.

The password is neither on a command line nor in the environment: psql reads it
from a file that only you can read, which is removed in the end.`,
		Example:           "  kubectl poolfleet psql shop\n  kubectl poolfleet psql shop --direct -- -c 'select version()'",
		Args:              psqlArgs,
		ValidArgsFunction: env.completePools,
		RunE: func(cmd *cobra.Command, args []string) error {
			if env.output != "" {
				return usageError("psql has output of its own: give psql --csv, say, in place of -o")
			}
			return env.psql(cmd.Context(), args[0], direct, args[1:])
		},
	}
	cmd.Flags().BoolVar(&direct, "direct", false, "connect to the server itself, past the pool")
	return cmd
}

// psqlArgs wants psql's own arguments after --, so that ours are not mistaken for them.
func psqlArgs(cmd *cobra.Command, args []string) error {
	switch dash := cmd.ArgsLenAtDash(); {
	case dash == 0 || len(args) == 0:
		return errors.New("name a pool")
	case dash < 0 && len(args) > 1:
		return fmt.Errorf("put what is for psql after --: psql %s -- %s", args[0], strings.Join(args[1:], " "))
	case dash > 1:
		return errors.New("name one pool")
	}
	return nil
}

func (e *environment) psql(ctx context.Context, name string, direct bool, args []string) error {
	program, err := exec.LookPath("psql")
	if err != nil {
		return wrong("psql is not installed on this machine: install PostgreSQL's client (Debian and Ubuntu: apt install postgresql-client; Fedora: dnf install postgresql; macOS: brew install libpq)")
	}
	s, err := e.session()
	if err != nil {
		return err
	}
	to, err := s.loginFor(ctx, name, direct)
	if err != nil {
		return err
	}
	way, err := s.reach(ctx, to.Host, to.Port)
	if err != nil {
		return err
	}
	defer way.close()
	if way.through != "" {
		e.say("Connecting to %s through %s", to.Host, way.through)
	}
	return e.runPsql(program, to, way, args)
}

func (s *session) loginFor(ctx context.Context, name string, direct bool) (login, error) {
	pool, err := s.pool(ctx, name)
	if err != nil {
		return login{}, err
	}
	secret, err := s.published(ctx, pool)
	if err != nil {
		return login{}, err
	}
	if direct {
		return s.directLogin(ctx, pool, secret.Data)
	}
	if pool.Spec.State == poolv1.PoolPaused {
		return login{}, wrong("ConnectionPool %s is paused: a client would wait until it is resumed (`kubectl poolfleet resume %s`); --direct goes past it", name, name)
	}
	return pooledLogin(pool, secret.Data)
}

// runPsql runs psql until it ends. An interrupt is psql's to deal with: it cancels a
// query, so the plugin's own context does not end it.
func (e *environment) runPsql(program string, to login, way reached, args []string) error {
	dir, err := os.MkdirTemp("", "poolfleet-psql-") // Readable to this user alone.
	if err != nil {
		return fmt.Errorf("making a directory for the password: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	vars, err := to.variables(dir, way)
	if err != nil {
		return wrong("preparing psql: %w", err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.streams.In, e.streams.Out, e.streams.ErrOut
	cmd.Env = append(slices.DeleteFunc(os.Environ(), leads), vars...)
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &exitError{code: max(exit.ExitCode(), exitWrong)} // -1 where a signal ended it.
	}
	if err != nil {
		return wrong("running psql: %w", err)
	}
	return nil
}

// leading are libpq's variables that say where to connect and as whom. Those of the
// person's own environment are for other servers.
// Source: PostgreSQL documentation, section libpq, Environment Variables.
var leading = []string{
	"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGREQUIREAUTH", "PGCHANNELBINDING",
	"PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGSSLMODE", "PGREQUIRESSL", "PGSSLNEGOTIATION", "PGSSLROOTCERT",
	"PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGGSSENCMODE",
}

func leads(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains(leading, name)
}

// variables are what libpq reads to connect. The password and what TLS needs are in
// files of the directory: unlike a variable, a file is not shown to other users by any
// system's ps, nor passed on to what psql starts.
func (l login) variables(dir string, way reached) ([]string, error) {
	vars := []string{"PGHOST=" + l.Host, "PGPORT=" + strconv.Itoa(int(way.port)), "PGDATABASE=" + l.Database}
	if l.CA == "" && strings.HasPrefix(l.TLSMode, "verify-") {
		// With the system's authorities libpq takes no weaker mode.
		vars = append(vars, "PGSSLROOTCERT=system", "PGSSLMODE="+sslVerifyFull)
	} else {
		vars = append(vars, "PGSSLMODE="+cmp.Or(l.TLSMode, sslPrefer))
	}
	if way.address != "" {
		vars = append(vars, "PGHOSTADDR="+way.address) // The certificate is still verified for PGHOST.
	}
	if l.User != "" {
		vars = append(vars, "PGUSER="+l.User)
	}
	if l.options != "" {
		vars = append(vars, "PGOPTIONS="+l.options)
	}
	return l.files(dir, way.port, vars)
}

// files writes what is secret or long, and adds the variables that name it.
func (l login) files(dir string, port uint16, vars []string) ([]string, error) {
	files := map[string]string{"PGSSLROOTCERT": l.CA, "PGSSLCERT": l.Certificate, "PGSSLKEY": l.Key}
	if l.Password != "" {
		files["PGPASSFILE"] = l.passfile(port)
	}
	for name, text := range files {
		if text == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		vars = append(vars, name+"="+path)
	}
	return vars, nil
}

// passfile gives the password to this host, port and user alone: psql's \connect to
// another server does not take it there.
// Source: PostgreSQL documentation, section libpq, The Password File.
func (l login) passfile(port uint16) string {
	escape := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace
	return strings.Join([]string{escape(l.Host), strconv.Itoa(int(port)), "*", escape(l.User), escape(l.Password)}, ":") + "\n"
}
