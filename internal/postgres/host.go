// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"net/netip"
	"slices"
	"strings"
)

const localhost = "localhost"

// The values of sslmode that PostgreSQL and PgBouncer share.
// Source: PostgreSQL docs, 32.1.2 "sslmode"; PgBouncer setting server_tls_sslmode.
const (
	tlsDisable    = "disable"
	tlsAllow      = "allow"
	tlsPrefer     = "prefer"
	tlsRequire    = "require"
	tlsVerifyCA   = "verify-ca"
	tlsVerifyFull = "verify-full"
)

// tlsModes from the weakest to the strongest.
var tlsModes = []string{tlsDisable, tlsAllow, tlsPrefer, tlsRequire, tlsVerifyCA, tlsVerifyFull}

func severalHosts() *Error {
	return invalid("the URL names several hosts: name one, the primary or an address that follows it")
}

// parseHost returns the host without an IPv6 address's varying spellings. It
// never quotes the host: of a malformed URL it may be a piece of the password.
func parseHost(text string) (string, error) {
	if text == "" {
		return "", invalid("the URL names no host: it must read " + form)
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "@") {
		return "", invalid("the host is a Unix socket, which no pod can reach: name a TCP host")
	}
	if strings.Contains(text, ",") {
		return "", severalHosts()
	}
	if address, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && address.Zone() == "" {
		return address.String(), nil
	}
	if len(text) > 253 || strings.Trim(text, ".") == "" || strings.ContainsFunc(text, notInHostName) {
		return "", invalid("the host is neither a DNS name nor an IP address; if the password holds one of : / ? # @ %, " +
			"write it percent-encoded (%3A %2F %3F %23 %40 %25)")
	}
	return text, nil
}

func notInHostName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
}

// insideCluster reports whether the way to a host is taken to be the cluster's
// own network.
func insideCluster(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		address = address.Unmap()
		return address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast()
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	return !strings.Contains(name, ".") || strings.HasSuffix(name, ".svc") || strings.HasSuffix(name, ".svc.cluster.local")
}

// tlsWish is what a Secret says about TLS.
type tlsWish struct {
	mode   string
	system bool
}

func (w *tlsWish) take(name, value string) {
	switch {
	case name == "sslmode" && value == "no-verify": // node-postgres
		w.mode = tlsRequire
	case name == "sslmode":
		w.mode = value
	case name == "ssl" && value == "true" && w.mode == "": // libpq takes it for JDBC's sake.
		w.mode = tlsRequire
	case name == "sslrootcert":
		w.system = value == "system"
	}
}

// forHost returns the mode to use, see ParseSecret. The certificates of the
// system prove nothing unless names are checked, so that libpq insists on it, too.
func (w tlsWish) forHost(host string) (string, error) {
	strength := slices.Index(tlsModes, w.mode)
	switch {
	case w.mode != "" && strength < 0:
		return "", invalid("sslmode must be one of " + strings.Join(tlsModes, ", "))
	case w.system:
		return tlsVerifyFull, nil
	case w.mode == tlsDisable || strength >= slices.Index(tlsModes, tlsRequire):
		return w.mode, nil
	case !insideCluster(host):
		return tlsRequire, nil
	case w.mode == "":
		return tlsPrefer, nil
	}
	return w.mode, nil
}

// LooksPooled reports whether the address says of itself that a pooler answers
// there, and by what it says so. Others hide it; Observation.BackendPIDMatches
// finds those.
func (s Source) LooksPooled() (pooled bool, why string) {
	labels := strings.Split(strings.ToLower(s.Host), ".")
	switch {
	case strings.HasSuffix(labels[0], "-pooler"): // Neon
		return true, "the host's name ends in -pooler: use the direct one, without it"
	case slices.Contains(labels, "pooler"): // Supabase
		return true, "the host's name says pooler: use the direct connection's"
	case s.Port == 6543: // Supabase
		return true, "port 6543 is a pooler's: use the direct connection's, mostly 5432"
	case s.Port == 6432: // PgBouncer's own default; PlanetScale
		return true, "port 6432 is PgBouncer's: use the direct connection's, mostly 5432"
	}
	return false, ""
}
