// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package node

import (
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
	check := func() error { return answersURL(condition) }
	if socket, ok := strings.CutPrefix(condition, "unix:"); ok {
		check = func() error { return answersSocket(socket) }
	}
	for check() != nil {
		time.Sleep(poll)
	}
}

func answersSocket(path string) error {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// answersURL asks as nobody: /readyz is open to everyone (the ClusterRole
// system:public-info-viewer).
func answersURL(url string) error {
	pem, err := os.ReadFile("/etc/kubernetes/node/ca.crt")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s: %s", url, answer.Status)
	}
	return nil
}
