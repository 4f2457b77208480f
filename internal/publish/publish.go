// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package publish knows what applications are told: the URLs of a pool and the
// keys of the Secret that holds them. It turns values into text; it looks nothing
// up and writes nothing down.
package publish

import (
	"maps"
	"strconv"
)

// Keys of the published Secret. Applications depend on them: they are only added to.
const (
	// KeyDatabaseURL and KeyURI hold the pooled URL.
	KeyDatabaseURL = "DATABASE_URL"
	KeyURI         = "uri"
	// KeyDirectURL and KeyDirectURI hold the URL of the server itself, for migrations.
	KeyDirectURL = "DIRECT_URL"
	KeyDirectURI = "direct-uri"
	// KeyJDBCURI holds the pooled URL as Java's drivers spell it.
	KeyJDBCURI = "jdbc-uri"
	// KeyType and KeyProvider are the Service Binding specification's.
	KeyType     = "type"
	KeyProvider = "provider"
	// The parts of the pooled URL.
	KeyHost     = "host"
	KeyPort     = "port"
	KeyDatabase = "database"
	KeyUsername = "username"
	KeyPassword = "password"
	// KeyExternalURL holds the pooled URL for applications outside the cluster.
	KeyExternalURL = "EXTERNAL_URL"
	// KeyEdgeURL holds the URL for workers, as the Neon serverless driver reads it.
	KeyEdgeURL = "EDGE_URL"
	// KeyCA holds the authority that the poolers' certificate comes from, in PEM.
	KeyCA = "ca.crt"
)

const (
	bindingType     = "postgresql"
	bindingProvider = "poolfleet"
)

// Inputs is what the URLs are made of.
type Inputs struct {
	// Namespace and Pool are the ConnectionPool's.
	Namespace string
	Pool      string
	// Host and Port are where applications reach the poolers.
	Host string
	Port uint16
	// Database is what applications name when they connect: the first of the pool's databases.
	Database string
	// ExternalHost is where applications outside the cluster reach the poolers; empty
	// where they do not.
	ExternalHost string
	// EdgeHost is where workers reach the gateway, at port 443; empty where they do not.
	EdgeHost string
	// Login is what the poolers accept; without a user where each application has its
	// own, and then nothing that is published names one.
	Login Login
	// TLSMode is PgBouncer's client_tls_sslmode; empty is disable.
	TLSMode string
	// CA is the authority that the poolers' certificate comes from, in PEM; empty where
	// it is not known.
	CA string
	// Direct is the URL of the server itself, as the upstream Secret spells it: its
	// parameters may matter to a migration tool.
	Direct string
	// DirectWithoutPassword is the same, fit for a status.
	DirectWithoutPassword string
}

// Server is a PostgreSQL server and a way to log in to it.
type Server struct {
	// Host is a name or an address, IPv6 without brackets.
	Host string
	// Port is left out of the URL when 0.
	Port uint16
	// User, Password and Database are plain text, not yet escaped.
	User     string
	Password string
	Database string
	// SSLMode is libpq's sslmode; empty leaves the choice to the driver.
	// Source: PostgreSQL documentation, section libpq, Database Connection Control Functions.
	SSLMode string
}

// URLs are the published URLs without passwords, fit for a status. External is empty
// without a name outside the cluster, Edge and Accelerate where no gateway serves the
// pool. Accelerate names no user: its key would carry the password.
type URLs struct {
	Pooled     string
	External   string
	Edge       string
	Accelerate string
	Direct     string
}

// Published is what applications are told.
type Published struct {
	URLs URLs
	// Data is the published Secret's, passwords included.
	Data map[string][]byte
}

// Build returns the URLs and the Secret's data.
func Build(in Inputs) Published {
	pooled := Server{
		Host: in.Host, Port: in.Port, Database: in.Database,
		User: in.Login.Username, Password: in.Login.Password,
		SSLMode: sslMode(in.TLSMode),
	}
	data := secretData(pooled, in.Direct)
	urls := URLs{Pooled: pooled.withoutPassword().url(), Direct: in.DirectWithoutPassword}
	if in.ExternalHost != "" {
		external := pooled
		external.Host = in.ExternalHost
		data[KeyExternalURL], urls.External = external.url(), external.withoutPassword().url()
	}
	if in.EdgeHost != "" {
		edge := atGateway(pooled, in.EdgeHost)
		data[KeyEdgeURL], urls.Edge = edge.url(), edge.withoutPassword().url()
		urls.Accelerate = accelerateURL(in.EdgeHost)
	}
	if in.CA != "" {
		data[KeyCA] = in.CA
	}
	maps.Copy(data, accelerated(in))
	maps.Copy(data, pasted(in, pooled))
	return Published{URLs: urls, Data: bytesOf(data)}
}

// atGateway is a pool as the Neon serverless driver's URL has it: without a port, and
// always encrypted.
func atGateway(pooled Server, host string) Server {
	pooled.Host, pooled.Port, pooled.SSLMode = host, 0, "require"
	return pooled
}

// sslMode is what URLs say of a pooler's client_tls_sslmode. Where it speaks no TLS
// that is said aloud: most drivers would try it first, one round trip for nothing, and
// some, such as Go's lib/pq, insist on it unless told. Where it leaves the choice to
// clients, each driver does what it does by default.
func sslMode(clientTLS string) string {
	switch clientTLS {
	case "allow", "prefer":
		return ""
	case "require", "verify-ca", "verify-full":
		return "require"
	}
	return "disable"
}

// ReadLogin returns the user and the password of a published Secret's data.
func ReadLogin(data map[string][]byte) Login {
	return Login{Username: string(data[KeyUsername]), Password: string(data[KeyPassword])}
}

func secretData(pooled Server, direct string) map[string]string {
	data := map[string]string{
		KeyDatabaseURL: pooled.url(),
		KeyURI:         pooled.url(),
		KeyDirectURL:   direct,
		KeyDirectURI:   direct,
		KeyJDBCURI:     pooled.jdbcURL(),
		KeyType:        bindingType,
		KeyProvider:    bindingProvider,
		KeyHost:        pooled.Host,
		KeyPort:        strconv.Itoa(int(pooled.Port)),
		KeyDatabase:    pooled.Database,
	}
	if pooled.User != "" {
		data[KeyUsername], data[KeyPassword] = pooled.User, pooled.Password
	}
	return data
}

func bytesOf(text map[string]string) map[string][]byte {
	data := make(map[string][]byte, len(text))
	for key, value := range text {
		data[key] = []byte(value)
	}
	return data
}
