// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command pooler is the first process of a pooler pod. It runs PgBouncer as the
// pod's grant and the pool's configuration say.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pooler"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	options, err := parse(os.Args[1:])
	if err == nil {
		options.Log = log
		err = run(options)
	}
	if err != nil {
		log.Error("the pooler ends", "error", err.Error())
		os.Exit(1)
	}
}

func parse(args []string) (pooler.Options, error) {
	var o pooler.Options
	var port uint
	flags := flag.NewFlagSet("pooler", flag.ExitOnError)
	flags.StringVar(&o.ConfigDir, "config-dir", contract.ConfigDir, "where the pool's configuration is mounted")
	flags.StringVar(&o.PodDir, "pod-dir", contract.PodDir, "where the pod's grant and uid are mounted")
	flags.StringVar(&o.RunDir, "run-dir", contract.RunDir, "where PgBouncer's files and socket are put; it must outlive the container")
	flags.StringVar(&o.PgBouncer, "pgbouncer", "/usr/sbin/pgbouncer", "PgBouncer's path")
	flags.StringVar(&o.CAFile, "ca-file", "/etc/ssl/certs/ca-certificates.crt", "certificates that servers are verified with")
	flags.UintVar(&port, "client-port", contract.ClientPort, "port for clients")
	flags.StringVar(&o.StatusAddress, "status-address", net.JoinHostPort("", strconv.Itoa(contract.StatusPort)), "address for health and status")
	flags.StringVar(&o.MetricsAddress, "metrics-address", net.JoinHostPort("", strconv.Itoa(contract.MetricsPort)), "address for figures")
	flags.DurationVar(&o.DrainTimeout, "drain-timeout", 50*time.Second, "how long clients have to leave where the configuration does not say; shorter than the pod's grace period")
	flags.DurationVar(&o.SpreadTime, "spread-time", 5*time.Second, "how much of it is for others to learn that this pod takes no more clients")
	flags.DurationVar(&o.PollInterval, "poll-interval", 5*time.Second, "how often mounted files are read without a sign of change")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if port == 0 || port > 65535 || flags.NArg() > 0 {
		return o, fmt.Errorf("reading the command line: port %d, arguments %q", port, flags.Args())
	}
	o.ClientPort = uint16(port)
	return o, nil
}

func run(options pooler.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := raiseFileLimit(); err != nil {
		options.Log.Warn("clients may be limited by open files", "error", err.Error())
	}
	if os.Getpid() == 1 {
		go pooler.Reap(context.WithoutCancel(ctx), 5*time.Second, options.Log)
	}
	return pooler.New(options).Run(ctx)
}

// raiseFileLimit lets PgBouncer have as many open files as it may: each client is one.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}
