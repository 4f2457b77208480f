// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the kubectl plugin. It asks the cluster with the user's own rights and
// nothing else, and writes only what a command is there to write.
//
// Each command lies in a file named for it.
package cli

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Run runs the command line and returns the exit code. What went wrong stands on
// streams.ErrOut by then.
func Run(ctx context.Context, version string, args []string, streams Streams) int {
	// What libraries log is no answer to what was asked.
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	env := newEnvironment(streams)
	root := newRoot(env) //nolint:contextcheck // cobra hands the context to each command.
	root.Version = version
	root.SetArgs(args)
	return env.execute(ctx, root)
}

// Root is the command with all its subcommands.
func Root(streams Streams) *cobra.Command {
	return newRoot(newEnvironment(streams))
}

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-poolfleet",
		Short: "See and steer PostgreSQL connection pools",
		Long: `See and steer PostgreSQL connection pools.

Exit codes: 0 all is well, 1 the answer is bad news (a pool is not ready, a plan
does not fit), 2 the command line is wrong, 3 the cluster can not be asked.`,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl poolfleet"},
		SilenceErrors:     true, // execute says them.
		SilenceUsage:      true,
		PersistentPreRunE: env.begin,
	}
	root.SetIn(env.streams.In)
	root.SetOut(env.streams.Out)
	root.SetErr(env.streams.ErrOut)
	env.addFlags(root)
	root.AddCommand(commands(env)...)
	return root
}

// execute runs the command and says what went wrong. What fails before a command
// begins is the command line's fault.
func (e *environment) execute(ctx context.Context, root *cobra.Command) int {
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitFine
	}
	if !e.begun {
		err = usageError("%w\nSee `%s --help`", err, cmd.CommandPath())
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		exit = &exitError{code: exitUnasked, err: explain(err)}
	}
	if exit.err != nil {
		e.say("%s%s", e.style().bad("Error: "), exit.err.Error())
	}
	return exit.code
}
