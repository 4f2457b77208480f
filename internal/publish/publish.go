// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package publish knows what applications are told: the URLs of a pool and the
// keys of the Secret that holds them. It turns values into text; it looks nothing
// up and writes nothing down.
package publish

import (
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
)

const (
	bindingType     = "postgresql"
	bindingProvider = "poolfleet"
	// pooledSSLMode is said aloud because the poolers speak no TLS to clients: most
	// drivers would try it first, one round trip for nothing, and some, such as Go's
	// lib/pq, insist on it unless told.
	pooledSSLMode = "disable"
)

// Inputs is what the URLs are made of.
type Inputs struct {
	// Host and Port are where applications reach the poolers.
	Host string
	Port uint16
	// Database is what applications name when they connect: the first of the pool's databases.
	Database string
	// Credential is what the poolers accept.
	Credential Credential
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

// URLs are the published URLs without passwords, fit for a status.
type URLs struct {
	Pooled string
	Direct string
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
		User: in.Credential.Username, Password: in.Credential.Password,
		SSLMode: pooledSSLMode,
	}
	return Published{
		URLs: URLs{Pooled: pooled.withoutPassword().url(), Direct: in.DirectWithoutPassword},
		Data: bytesOf(secretData(pooled, in.Direct)),
	}
}

func secretData(pooled Server, direct string) map[string]string {
	return map[string]string{
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
		KeyUsername:    pooled.User,
		KeyPassword:    pooled.Password,
	}
}

func bytesOf(text map[string]string) map[string][]byte {
	data := make(map[string][]byte, len(text))
	for key, value := range text {
		data[key] = []byte(value)
	}
	return data
}
