// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package peers passes requests on between the gateway's replicas. It connects to nothing
// but the addresses that their headless Service resolves to, on one port, so that nobody
// can use the gateway to reach anything else.
//
// # Who is believed
//
// What a replica passes on carries the caller's address, for limits and the access log.
// Anybody can write that header, so it has to be proved: it has a MAC, whose key is
// derived from the private key of the gateway's certificate, which the replicas share
// and nobody else has. That holds with or without a proxy before the gateway, costs no
// handshake, and asks no client for a certificate, as mutual TLS on the port that clients
// use would. The MAC is of the request's line and host as well, and the request has to
// come from an address of the Service, so that one that leaks is of no use elsewhere.
//
// Where the gateway speaks plain HTTP the replicas share no secret. Then the caller's
// address is not believed: what a replica passes on counts as its own, unless it is
// among the proxies that the gateway is told to trust. Only that a request was passed on
// is believed of a replica's address, which can do no more than keep it from going further.
//
// # Whom a replica talks to
//
// Requests have a key that carries a password. With TLS a peer has to show a certificate
// that this replica has or had, or one that is good for the request's host by the
// system's authorities. While a certificate of a private authority is replaced, a replica
// that has not read the new one yet refuses those that have. With plain HTTP there is only
// the address, which is why a Service's answer is not used for long.
package peers

import (
	"context"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Errors of Forward, which tell what became of the peer.
var (
	// ErrUnknown is that there is no such peer: it has gone, or the name is forged.
	ErrUnknown = errors.New("there is no such replica")
	// ErrLost is that the peer can not be reached, or went before it answered.
	ErrLost = errors.New("the replica is lost")
	// ErrRefused is that the peer could not prove that it is one, or that the request has
	// been passed on before. Nothing was sent.
	ErrRefused = errors.New("the request can not be passed on")
	// ErrTooLarge is that the peer's answer has too many bytes.
	ErrTooLarge = errors.New("the answer has too many bytes")
)

// Limits bound a request that is passed on. Each has to be set.
type Limits struct {
	// RequestBytes and ResultBytes bound the bodies.
	RequestBytes int
	ResultBytes  int
	// Timeout bounds the time from connecting to the end of the answer.
	Timeout time.Duration
}

// Options say how the replicas are found.
type Options struct {
	// Service is the DNS name of the headless Service, Self this replica's address, and
	// Port what all of them listen on.
	Service string
	Self    netip.Addr
	Port    uint16
	// Certificates are this replica's: the one it has, and those it had; nil where the
	// gateway speaks plain HTTP.
	Certificates func() []*tls.Certificate
	Limits       Limits
	// LookUp resolves a name; nil asks the system.
	LookUp func(ctx context.Context, name string) ([]netip.Addr, error)
}

// Peers are the gateway's replicas. They are safe for concurrent use.
type Peers struct {
	options   Options
	known     known
	keys      keys
	transport *http.Transport
}

// New returns the peers of a replica.
func New(options Options) *Peers {
	options.Self = options.Self.Unmap()
	if options.LookUp == nil {
		options.LookUp = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	p := &Peers{options: options}
	p.transport = &http.Transport{
		DialContext: p.dial, DialTLSContext: p.dialTLS, DisableCompression: true,
		MaxIdleConns: 256, MaxIdleConnsPerHost: 32, IdleConnTimeout: idle, MaxResponseHeaderBytes: 64 << 10,
	}
	return p
}

// idle is for how long connections to peers are kept, which is shorter than a peer keeps
// them: else requests would meet one that is being closed.
const idle = time.Minute

// Close closes the connections that nobody uses.
func (p *Peers) Close() { p.transport.CloseIdleConnections() }

// Name is this replica's, for Forward at another one. It is text that can stand in a
// path, without a dash.
func (p *Peers) Name() string { return nameOf(p.options.Self) }

var encoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

func nameOf(address netip.Addr) string { return encoding.EncodeToString(address.AsSlice()) }

// addressOf reads a name. It has one spelling.
func addressOf(name string) (netip.Addr, bool) {
	const longest = 26 // An IPv6 address.
	if len(name) > longest {
		return netip.Addr{}, false
	}
	bytes, err := encoding.DecodeString(name)
	if err != nil {
		return netip.Addr{}, false
	}
	address, ok := netip.AddrFromSlice(bytes)
	return address, ok && nameOf(address) == name
}
