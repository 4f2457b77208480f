// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command edge is the gateway by which workers reach pools over HTTP and WebSocket.
// It wires internal/edge to a cluster and decides nothing itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/watch"
)

func main() {
	o, err := parse(os.Args[1:])
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: o.logLevel}))
	if err == nil {
		err = run(o, log)
	}
	if err != nil {
		log.Error("the gateway ends", "error", err.Error())
		os.Exit(1)
	}
}

func run(o options, log *slog.Logger) error {
	// What the libraries have to say of the API server goes where the rest does.
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log) //nolint:logcheck // It is the libraries' logger that is set.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	directory := &edge.Directory{Domain: o.domain}
	pools, err := watch.New(config, o.namespaces, directory, log)
	if err != nil {
		return err
	}
	server, end, err := o.server(directory, log)
	if err != nil {
		return err
	}
	defer end()
	server.Ready = pools.Ready
	// The pools are followed while requests finish, too.
	ctx, cancel := context.WithCancelCause(ctx)
	following, stopFollowing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFollowing()
	go func() {
		if err := pools.Run(following); err != nil {
			cancel(err)
		}
	}()
	if server.Certificate != nil {
		go func() {
			if err := server.Certificate.Follow(following, log); err != nil {
				cancel(err)
			}
		}()
	}
	if err := listen(ctx, o, server); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func listen(ctx context.Context, o options, server *edge.Server) error {
	var listener net.ListenConfig
	metrics, err := listener.Listen(ctx, "tcp", o.metricsAddress)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	defer metrics.Close()
	clients, err := listener.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listening for clients: %w", err)
	}
	defer clients.Close()
	server.Log.Info("the gateway listens", "address", clients.Addr().String(), "domain", o.domain)
	return server.Run(ctx, clients, metrics)
}
