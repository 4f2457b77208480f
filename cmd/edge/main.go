// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Command edge is the gateway by which workers reach pools over HTTP and WebSocket.
// It wires internal/edge to a cluster and decides nothing itself.
package main

import (
	"context"
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
	signalled, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	edge.TuneMemory(log)
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
	ctx, cancel := context.WithCancelCause(signalled)
	defer cancel(nil)
	stopFollowing := follow(ctx, cancel, server, pools)
	defer stopFollowing()
	if err := listen(ctx, o, server); err != nil {
		return err
	}
	if signalled.Err() == nil {
		return context.Cause(ctx)
	}
	return nil
}

// follow keeps pools and certificate up to date until stop is called, while requests
// finish, too. Where it can not, the gateway ends.
func follow(ctx context.Context, failed context.CancelCauseFunc, server *edge.Server, pools *watch.Watch) (stop func()) {
	ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	followers := []func() error{func() error { return pools.Run(ctx) }}
	if server.Certificate != nil {
		followers = append(followers, func() error { return server.Certificate.Follow(ctx, server.Log) })
	}
	for _, run := range followers {
		go func() {
			if err := run(); err != nil {
				failed(err)
			}
		}()
	}
	return stop
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
	if o.plainHTTP && len(o.trustedProxies) == 0 {
		server.Log.Warn("all callers look like the proxy before the gateway, and share its limits: name the proxy with --trusted-proxies")
	}
	server.Log.Info("the gateway listens", "address", clients.Addr().String(), "domain", o.domain)
	return server.Run(ctx, clients, metrics)
}
