// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// header is what a replica adds to a request that it passes on: the caller's address, and
// a MAC. In plain HTTP it has no MAC.
const header = "Poolfleet-Peer"

// keys of MACs, derived once for each certificate.
type keys struct {
	mu    sync.Mutex
	known map[*tls.Certificate][]byte
}

// of returns the keys of certificates, and forgets all others.
func (k *keys) of(certificates []*tls.Certificate) ([][]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, all := map[*tls.Certificate][]byte{}, make([][]byte, 0, len(certificates))
	for _, certificate := range certificates {
		key := k.known[certificate]
		if key == nil {
			var err error
			if key, err = derive(certificate); err != nil {
				return nil, err
			}
		}
		known[certificate] = key
		all = append(all, key)
	}
	k.known = known
	return all, nil
}

// derive makes a key that says nothing of the private key (RFC 5869).
func derive(certificate *tls.Certificate) ([]byte, error) {
	secret, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("deriving a key that the gateway's replicas share: %w", err)
	}
	return hkdf.Key(sha256.New, secret, nil, "poolfleet gateway: requests that replicas pass on", sha256.Size)
}

// macOf binds a caller to a request.
func macOf(key []byte, r *http.Request, caller string) []byte {
	sum := hmac.New(sha256.New, key)
	for _, part := range []string{r.Method, r.Host, r.URL.RequestURI(), caller} {
		_, _ = fmt.Fprintf(sum, "%d %s\n", len(part), part) // A hash takes all.
	}
	return sum.Sum(nil)
}

// key is what this replica proves requests with; nil where the gateway speaks plain HTTP.
func (p *Peers) key() ([]byte, error) {
	if p.options.Certificates == nil {
		return nil, nil
	}
	keys, err := p.keys.of(p.options.Certificates())
	if err != nil {
		return nil, err
	}
	return keys[0], nil
}

// prove writes the header of a request that is passed on, of which nothing else changes.
func prove(out *http.Request, key []byte, caller string) {
	if key == nil {
		out.Header.Set(header, caller)
		out.Header.Set("X-Forwarded-For", caller) // For those who trust this replica as a proxy.
		return
	}
	out.Header.Set(header, caller+" "+base64.RawURLEncoding.EncodeToString(macOf(key, out, caller)))
}

// Accept looks at a request as it comes in, before its RemoteAddr is replaced. It returns
// the caller where a peer has passed the request on and is believed, and takes the word of
// everybody else out of the header.
func (p *Peers) Accept(r *http.Request) (caller netip.Addr, believed bool) {
	said := r.Header.Values(header)
	if len(said) == 0 {
		return netip.Addr{}, false
	}
	caller, proved := p.proved(r, said)
	plain := p.options.Certificates == nil
	if (proved || plain) && p.fromPeer(r) {
		return caller, proved
	}
	r.Header.Del(header)
	return netip.Addr{}, false
}

// proved is whether what a header says has a MAC that only a replica can make.
func (p *Peers) proved(r *http.Request, said []string) (netip.Addr, bool) {
	if p.options.Certificates == nil || len(said) != 1 {
		return netip.Addr{}, false
	}
	text, proof, _ := strings.Cut(said[0], " ")
	mac, err := base64.RawURLEncoding.DecodeString(proof)
	if err != nil {
		return netip.Addr{}, false
	}
	keys, err := p.keys.of(p.options.Certificates())
	if err != nil || !slices.ContainsFunc(keys, func(key []byte) bool { return hmac.Equal(mac, macOf(key, r, text)) }) {
		return netip.Addr{}, false
	}
	caller, err := netip.ParseAddr(text)
	return caller, err == nil
}

func (p *Peers) fromPeer(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	is, err := p.isPeer(r.Context(), from.Addr().Unmap().WithZone(""))
	return err == nil && is
}

// Forwarded is whether a peer has passed a request on, which Accept has looked at.
func Forwarded(r *http.Request) bool { return len(r.Header.Values(header)) > 0 }

// dial connects to the peer that is named by the first label of what is dialled. See
// Peers.target.
func (p *Peers) dial(ctx context.Context, network, target string) (net.Conn, error) {
	name, _, _ := strings.Cut(target, ".")
	address, ok := addressOf(name)
	if !ok {
		return nil, ErrUnknown
	}
	var dialer net.Dialer
	if self := p.options.Self; self.Is4() == address.Is4() { // The Service has it, if there are others.
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(self, 0))
	}
	return dialer.DialContext(ctx, network, netip.AddrPortFrom(address, p.options.Port).String())
}

func (p *Peers) dialTLS(ctx context.Context, network, target string) (net.Conn, error) {
	conn, err := p.dial(ctx, network, target)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, fmt.Errorf("reading a target: %w", err)
	}
	_, host, _ = strings.Cut(host, ".")
	client := tls.Client(conn, p.tls(host))
	if err := client.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // The handshake's error says more.
		return nil, err
	}
	return client, nil
}

func (p *Peers) tls(host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: host,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks it, by more than names.
		VerifyConnection: func(state tls.ConnectionState) error {
			shown := state.PeerCertificates[0]
			if slices.ContainsFunc(p.options.Certificates(), func(own *tls.Certificate) bool { return slices.Equal(own.Certificate[0], shown.Raw) }) {
				return nil
			}
			between := x509.NewCertPool()
			for _, certificate := range state.PeerCertificates[1:] {
				between.AddCert(certificate)
			}
			if _, err := shown.Verify(x509.VerifyOptions{DNSName: host, Intermediates: between}); err != nil {
				return fmt.Errorf("%w: the replica shows another certificate: %w", ErrRefused, err)
			}
			return nil
		},
	}
}
