// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
)

type options struct {
	domain, listen, metricsAddress string
	certificate, key               string
	plainHTTP                      bool
	namespaces                     []string
	trustedProxies                 []netip.Prefix
	logLevel                       slog.Level
	accessLog                      bool

	loginTimeout, shutdownDelay, shutdownTimeout time.Duration

	http      edge.HTTPLimits
	kept      edge.KeptLimits
	webSocket edge.WebSocketLimits
	caller    edge.CallerLimits

	transactions accelerate.TransactionLimits
	cache        cache.Limits
	legacySocket string
	// peers is the headless Service of all replicas, and self this one's address.
	peers string
	self  netip.Addr
}

func parse(args []string) (options, error) {
	o := options{
		http: edge.DefaultHTTPLimits, kept: edge.DefaultKeptLimits, caller: edge.DefaultCallerLimits,
		transactions: accelerate.DefaultTransactionLimits, cache: cache.DefaultLimits,
	}
	flags := flag.NewFlagSet("edge", flag.ExitOnError)
	flags.StringVar(&o.domain, "domain", "", "Domain under which pools are served, as LABEL.DOMAIN. Required.")
	flags.StringVar(&o.listen, "listen", ":8443", "Address for clients.")
	flags.StringVar(&o.metricsAddress, "metrics-address", ":9090", "Address of /metrics, /healthz and /readyz.")
	flags.StringVar(&o.certificate, "tls-certificate", "", "File with the certificate chain, in PEM; read again when it changes.")
	flags.StringVar(&o.key, "tls-key", "", "File with the certificate's key, in PEM.")
	flags.BoolVar(&o.plainHTTP, "plain-http", false, "Speak HTTP without TLS, behind a proxy that ends TLS.")
	flags.Func("namespaces", "Namespaces whose pools are served, separated by commas; all by default.", func(list string) error {
		o.namespaces = split(list)
		return nil
	})
	flags.Func("trusted-proxies", "Networks, separated by commas, of proxies whose X-Forwarded-For is believed.", func(list string) (err error) {
		o.trustedProxies, err = prefixes(list)
		return err
	})
	flags.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "What is logged: debug, info, warn or error.")
	flags.BoolVar(&o.accessLog, "access-log", true, "Log each request and WebSocket, without its query text.")
	flags.DurationVar(&o.loginTimeout, "login-timeout", 15*time.Second, "How long a login to a pool may take.")
	flags.DurationVar(&o.shutdownDelay, "shutdown-delay", 5*time.Second, "How long requests are still taken when the gateway ends, until they go elsewhere.")
	flags.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 30*time.Second, "How long requests and WebSockets may then take to finish.")
	limitFlags(flags, &o)
	accelerateFlags(flags, &o)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(flags.Args())
}

func limitFlags(flags *flag.FlagSet, o *options) {
	flags.IntVar(&o.http.RequestBytes, "max-request-bytes", o.http.RequestBytes, "Bytes of a request's body.")
	flags.IntVar(&o.http.ResultBytes, "max-result-bytes", o.http.ResultBytes, "Bytes of an answer's body.")
	flags.DurationVar(&o.http.Timeout, "request-timeout", o.http.Timeout, "How long a request may take.")
	flags.IntVar(&o.kept.Idle, "max-kept-connections", o.kept.Idle, "Connections to poolers that are kept between requests.")
	flags.DurationVar(&o.kept.For, "keep-connections-for", o.kept.For, "How long they are kept, and a password may go on working that the pool takes no more.")
	flags.DurationVar(&o.webSocket.Idle, "websocket-idle-timeout", 0, "How long a WebSocket may be idle; 0 for ever.")
	flags.Int64Var(&o.webSocket.Message, "max-message-bytes", 0, "Bytes of a WebSocket message; 0 for any.")
	flags.IntVar(&o.caller.Concurrency, "caller-concurrency", o.caller.Concurrency, "Requests and WebSockets of one caller at a time; 0 for any.")
	flags.Float64Var(&o.caller.Rate, "caller-rate", o.caller.Rate, "Requests and WebSockets that one caller may begin in a second; 0 for any.")
	flags.IntVar(&o.caller.Burst, "caller-burst", o.caller.Burst, "How many of them at once.")
}

func accelerateFlags(flags *flag.FlagSet, o *options) {
	flags.DurationVar(&o.transactions.Timeout, "max-transaction-time", o.transactions.Timeout, "How long an interactive transaction of Prisma's may be open, whatever its client asks for.")
	flags.DurationVar(&o.transactions.MaxWait, "max-transaction-wait", o.transactions.MaxWait, "How long it may take to begin, whatever its client asks for.")
	flags.IntVar(&o.transactions.PerPool, "max-transactions", o.transactions.PerPool, "Interactive transactions of a pool that may be open.")
	flags.IntVar(&o.transactions.PerCaller, "caller-transactions", o.transactions.PerCaller, "Those of one caller.")
	flags.StringVar(&o.peers, "peers", "", "DNS name of the headless Service that has all replicas of the gateway, of which POD_IP is this one's address; without it, a transaction's requests all have to reach the same replica.")
	flags.StringVar(&o.legacySocket, "accelerate-legacy-socket", "", "Unix socket of the sidecar that runs queries for Prisma's clients 5 and 6 without an engine; none by default.")
	flags.Uint64Var(&o.cache.Bytes, "max-cache-bytes", o.cache.Bytes, "Bytes of results that are kept as clients of Prisma ask with cacheStrategy.")
}

func (o *options) check(rest []string) error {
	o.domain = strings.ToLower(strings.Trim(o.domain, "."))
	switch {
	case len(rest) > 0:
		return fmt.Errorf("reading the command line: %q is no flag", rest)
	case o.domain == "":
		return errors.New("--domain is missing: name the domain under which pools are served")
	case o.plainHTTP && o.certificate+o.key != "":
		return errors.New("--plain-http needs no certificate: leave one of them out")
	case !o.plainHTTP && (o.certificate == "" || o.key == ""):
		return errors.New("--tls-certificate or --tls-key is missing: name both files, or behind a proxy that ends TLS say --plain-http")
	}
	if err := o.checkPeers(); err != nil {
		return err
	}
	return o.checkLimits()
}

// checkPeers reads where this replica is.
func (o *options) checkPeers() (err error) {
	if o.peers == "" {
		return nil
	}
	if o.self, err = netip.ParseAddr(os.Getenv("POD_IP")); err != nil {
		return fmt.Errorf("--peers needs this replica's address in the environment, as POD_IP: %w", err)
	}
	return nil
}

func (o *options) checkLimits() error {
	for name, value := range map[string]int64{
		"max-request-bytes": int64(o.http.RequestBytes), "max-result-bytes": int64(o.http.ResultBytes),
		"request-timeout": int64(o.http.Timeout), "login-timeout": int64(o.loginTimeout), "shutdown-timeout": int64(o.shutdownTimeout),
		"max-transaction-time": int64(o.transactions.Timeout), "max-transaction-wait": int64(o.transactions.MaxWait),
		"max-transactions": int64(o.transactions.PerPool), "caller-transactions": int64(o.transactions.PerCaller),
		"max-cache-bytes": int64(min(o.cache.Bytes, math.MaxInt64)),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s must be more than 0", name)
		}
	}
	for name, value := range map[string]int64{
		"max-kept-connections": int64(o.kept.Idle), "keep-connections-for": int64(o.kept.For), "shutdown-delay": int64(o.shutdownDelay),
		"websocket-idle-timeout": int64(o.webSocket.Idle), "max-message-bytes": o.webSocket.Message,
		"caller-concurrency": int64(o.caller.Concurrency), "caller-rate": int64(o.caller.Rate), "caller-burst": int64(o.caller.Burst),
	} {
		if value < 0 {
			return fmt.Errorf("--%s can not be negative", name)
		}
	}
	return nil
}

func prefixes(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range split(list) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network such as 10.0.0.0/8", text)
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
