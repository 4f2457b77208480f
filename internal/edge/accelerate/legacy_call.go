// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/poolfleet/poolfleet/internal/edge"
)

var (
	// legacyPrefix is the version of Prisma's client and the SHA-256 of its schema.
	legacyPrefix = regexp.MustCompile(`^/([1-9][0-9]{0,3})\.[0-9]{1,4}\.[0-9]{1,4}/[0-9a-f]{64}/`)
	legacyPath   = regexp.MustCompile(`^/([0-9.]+)/([0-9a-f]{64})/(?:(schema|graphql|transaction/start)|itx/([0-9A-Za-z.:_-]{1,100})-([0-9a-z]{1,64})/(graphql|commit|rollback))$`)
)

// startAction begins a transaction.
const startAction = "transaction/start"

// legacyMajors are the major versions of Prisma's client that the sidecar serves.
var legacyMajors = []string{"5", "6"}

// IsLegacy is whether a path is of the older protocol.
func IsLegacy(path string) bool { return legacyPrefix.MatchString(path) }

// legacyCall is what a request asks for.
type legacyCall struct {
	version, hash string
	// action is schema, graphql or transaction/start, or in a transaction graphql, commit
	// or rollback.
	action string
	// replica is where the transaction is; it and transaction are empty outside of one.
	replica, transaction string
}

// readLegacyCall parses path and method. The error is a *legacyRefusal or a *edge.Refusal.
func readLegacyCall(r *http.Request) (legacyCall, error) {
	prefix := legacyPrefix.FindStringSubmatch(r.URL.Path)
	if prefix == nil {
		return legacyCall{}, nothingThere()
	}
	if !slices.Contains(legacyMajors, prefix[1]) {
		return legacyCall{}, &legacyRefusal{http.StatusNotFound, map[string]any{
			"EngineNotStarted": map[string]any{"reason": "EngineVersionNotSupported"}, "supported": legacyMajors,
		}}
	}
	parts := legacyPath.FindStringSubmatch(r.URL.Path)
	if parts == nil {
		return legacyCall{}, nothingThere()
	}
	call := legacyCall{version: parts[1], hash: parts[2], action: parts[3] + parts[6], replica: parts[4], transaction: parts[5]}
	method := http.MethodPost
	if call.action == "schema" {
		method = http.MethodPut
	}
	if r.Method != method {
		return legacyCall{}, &edge.Refusal{Status: http.StatusMethodNotAllowed, Message: "this path takes " + method}
	}
	return call, nil
}

func nothingThere() error {
	return &edge.Refusal{Status: http.StatusNotFound, Message: "there is nothing at this path"}
}

// path is what the sidecar is asked for.
func (c legacyCall) path() string {
	if c.transaction == "" {
		return "/" + c.version + "/" + c.hash + "/" + c.action
	}
	return "/" + c.version + "/" + c.hash + "/itx/" + c.transaction + "/" + c.action
}

// sessionHeader tells the sidecar where a pool is and what to log in with; see
// cmd/accelerate-legacy/session.js.
const sessionHeader = "Poolfleet-Session"

func sidecarHeader(s Session, endpoint string) (string, error) {
	host, port, err := net.SplitHostPort(s.Pool.Address)
	if err != nil {
		return "", fmt.Errorf("reading the address of pool %s: %w", s.Pool, err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("reading the port of pool %s: %w", s.Pool, err)
	}
	text, err := json.Marshal(map[string]any{
		"pool": s.Pool.String(), "host": host, "port": number,
		"tls": s.Pool.TLS, "authority": s.Pool.Authority, "serverName": s.Pool.ServerName, "exclusive": s.Pool.Session,
		"user": s.Login.User, "password": s.Login.Password, "database": s.Login.Database,
		"endpoint": endpoint,
	})
	if err != nil {
		return "", fmt.Errorf("describing pool %s to the sidecar: %w", s.Pool, err)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}
