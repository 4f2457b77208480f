// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
)

// Headers of a request for /status and of its answer.
const (
	// NonceHeader carries the asker's fresh random number.
	NonceHeader = "Poolfleet-Nonce"
	// SignatureHeader proves knowledge of the StatusKey, in the request over the
	// nonce, in the answer over nonce and body.
	SignatureHeader = "Poolfleet-Signature"
	// StatusPath is where a pooler answers with its Status.
	StatusPath = "/status"
)

const maxStatusBytes = 64 << 10

// SignRequest marks a request as coming from someone who knows the key. The nonce
// must be fresh, so that an old answer can not be played back.
func SignRequest(r *http.Request, key []byte, nonce string) {
	r.Header.Set(NonceHeader, nonce)
	r.Header.Set(SignatureHeader, sign(key, "request", nonce, nil))
}

// VerifyRequest reports whether a request was signed with the key.
func VerifyRequest(r *http.Request, key []byte) bool {
	nonce := r.Header.Get(NonceHeader)
	return nonce != "" && equal(r.Header.Get(SignatureHeader), sign(key, "request", nonce, nil))
}

// SignResponse marks body as the answer to r. Call it before the header is written.
func SignResponse(w http.ResponseWriter, r *http.Request, key, body []byte) {
	w.Header().Set(SignatureHeader, sign(key, "response", r.Header.Get(NonceHeader), body))
}

// ReadResponse returns the body of an answer, once it has proved that the
// answerer knows the key and answers this very nonce. It does not close the body.
func ReadResponse(resp *http.Response, key []byte, nonce string) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the answer: %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatusBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if !equal(resp.Header.Get(SignatureHeader), sign(key, "response", nonce, body)) {
		return nil, fmt.Errorf("reading the answer: it is not signed with the pool's key")
	}
	return body, nil
}

func sign(key []byte, direction, nonce string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	// Lengths first, so that no two inputs run together into the same bytes.
	fmt.Fprintf(mac, "poolfleet/status %s %d %s %d ", direction, len(nonce), nonce, len(body))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }
