// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/poolfleet/poolfleet/internal/contract"
)

// StatusAsker asks a pooler pod for its account of itself.
type StatusAsker interface {
	// Ask returns the status of the pod at an IP address. The answer proved that it
	// comes from someone who knows the pool's key.
	Ask(ctx context.Context, podIP string, key []byte) (contract.Status, error)
}

// HTTPAsker is the StatusAsker for real pods.
type HTTPAsker struct {
	client *http.Client
}

// errWrongKey means that the pod knows another key: its pool was made anew.
var errWrongKey = errors.New("the pod does not know the pool's key")

// askTimeout bounds one question to one pod. A pod that does not answer has not
// acknowledged, which costs others only time.
const askTimeout = 2 * time.Second

// NewHTTPAsker returns an HTTPAsker.
func NewHTTPAsker() *HTTPAsker {
	return &HTTPAsker{client: &http.Client{
		Timeout: askTimeout,
		// Pods come and go under one address: a kept connection could lead to the wrong one.
		Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Ask implements StatusAsker.
func (a *HTTPAsker) Ask(ctx context.Context, podIP string, key []byte) (contract.Status, error) {
	url := "http://" + net.JoinHostPort(podIP, strconv.Itoa(contract.StatusPort)) + contract.StatusPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return contract.Status{}, fmt.Errorf("asking a pooler for its status: %w", err)
	}
	nonce := rand.Text()
	contract.SignRequest(req, key, nonce)
	resp, err := a.client.Do(req)
	if err != nil {
		return contract.Status{}, fmt.Errorf("asking a pooler for its status: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusForbidden {
		return contract.Status{}, fmt.Errorf("asking a pooler for its status: %w", errWrongKey)
	}
	body, err := contract.ReadResponse(resp, key, nonce)
	if err != nil {
		return contract.Status{}, fmt.Errorf("asking a pooler for its status: %w", err)
	}
	var s contract.Status
	if err := json.Unmarshal(body, &s); err != nil {
		return contract.Status{}, fmt.Errorf("asking a pooler for its status: %w", err)
	}
	return s, nil
}
