// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
	"github.com/poolfleet/poolfleet/internal/edge/peers"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// server wires the gateway; end closes what it keeps.
func (o *options) server(directory *edge.Directory, log *slog.Logger) (server *edge.Server, end func(), err error) {
	var certificate *edge.Certificate
	if !o.plainHTTP {
		if certificate, err = edge.OpenCertificate(o.certificate, o.key); err != nil {
			return nil, nil, err
		}
	}
	replicas, err := o.replicas(certificate)
	if err != nil {
		return nil, nil, err
	}
	door, limiter := &edge.Door{Timeout: o.loginTimeout}, &edge.Limiter{Caller: o.caller}
	connections := &edge.Connections{Directory: directory, Door: door, Limits: o.kept}
	prisma, err := o.accelerate(connections, limiter, replicas, log)
	if err != nil {
		return nil, nil, err
	}
	sockets := &edge.WebSocket{Directory: directory, Door: door, Limiter: limiter, Limits: o.webSocket}
	server = &edge.Server{
		SQL:       &edge.HTTP{Directory: directory, Connections: connections, Limiter: limiter, Limits: o.http},
		WebSocket: sockets, Accelerate: prisma, Callers: edge.Callers{Trusted: o.trustedProxies},
		Metrics: edge.NewMetrics(directory, limiter, sockets.Open), Certificate: certificate,
		Delay: o.shutdownDelay, Timeout: o.shutdownTimeout, Drain: prisma.Drain, Shutdown: sockets.Shutdown,
		Log: log, AccessLog: o.accessLog,
	}
	door.Failed, door.Log, sockets.Ended = server.Metrics.FailedLogin, log, server.EndWebSocket
	server.Metrics.Show(prisma.Cache)
	if certificate != nil {
		server.Metrics.Show(certificate.Expiry())
	}
	server.Metrics.Show(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "poolfleet_edge_open_transactions", Help: "Interactive transactions of Prisma's clients that are open."},
		func() float64 { return float64(prisma.Transactions.Open()) }))
	end = func() { prisma.Cache.Close(); connections.Close() }
	if replicas == nil {
		return server, end, nil
	}
	server.Callers.Peers = replicas
	return server, func() { end(); replicas.Close() }, nil
}

// accelerate wires what answers Prisma's clients.
func (o *options) accelerate(connections *edge.Connections, limiter *edge.Limiter, replicas *peers.Peers, log *slog.Logger) (*accelerate.Handler, error) {
	kept := o.cache
	kept.Timeout = o.http.Timeout
	results, err := cache.New(kept, func(err error) {
		log.Debug("a result was not fetched again", "code", queryplan.ErrorOf(err).Code) // Its words may have data.
	})
	if err != nil {
		return nil, fmt.Errorf("making room for results: %w", err)
	}
	handler := &accelerate.Handler{
		Directory: connections.Directory, Connections: connections, Limiter: limiter, Limits: o.http,
		Cache: results, Transactions: &accelerate.Transactions{Limits: o.transactions},
	}
	if replicas != nil {
		handler.Replicas = replicas
	}
	if o.legacySocket != "" {
		handler.Legacy = accelerate.NewLegacy(o.legacySocket, connections, limiter, handler.Replicas, o.http)
	}
	return handler, nil
}

// answerOverhead is what an answer of a replica may have beside its result, in bytes:
// telemetry, which is passed on and not kept.
const answerOverhead = 64 << 20

// replicas are nil where the gateway does not know of others.
func (o *options) replicas(certificate *edge.Certificate) (*peers.Peers, error) {
	if o.peers == "" {
		return nil, nil //nolint:nilnil // There are none.
	}
	_, text, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, fmt.Errorf("reading the port of --listen: %w", err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reading the port of --listen: %w", err)
	}
	options := peers.Options{
		Service: o.peers, Self: o.self, Port: uint16(port),
		Limits: peers.Limits{RequestBytes: o.http.RequestBytes, ResultBytes: o.http.ResultBytes + answerOverhead, Timeout: o.http.Timeout},
	}
	if certificate != nil {
		options.Certificates = certificate.All
	}
	return peers.New(options), nil
}
