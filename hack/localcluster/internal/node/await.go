// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const poll = 50 * time.Millisecond

// await returns when a condition of config.Component.After holds, however long
// that takes: the one who waits for the cluster says when it is too long.
func await(condition string) {
	check := func(ctx context.Context) error { return answersURL(ctx, condition) }
	if socket, ok := strings.CutPrefix(condition, "unix:"); ok {
		check = func(ctx context.Context) error { return answersSocket(ctx, socket) }
	}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := check(ctx)
		cancel()
		if err == nil {
			return
		}
		time.Sleep(poll)
	}
}

func answersSocket(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// answersURL asks as nobody: /readyz is open to everyone (the ClusterRole
// system:public-info-viewer).
func answersURL(ctx context.Context, url string) error {
	pem, err := os.ReadFile("/etc/kubernetes/node/ca.crt")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s: %s", url, answer.Status)
	}
	return nil
}
