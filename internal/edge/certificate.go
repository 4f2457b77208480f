// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"
)

// Certificate is the gateway's, read from files and read again as they change.
type Certificate struct {
	certificate, key string
	current          atomic.Pointer[loaded]
}

// loaded is a certificate, and the bytes that it was read from.
type loaded struct {
	text, key []byte
	tls       *tls.Certificate
	before    *tls.Certificate // Other replicas may still have it.
}

// OpenCertificate reads a certificate chain and its key, both in PEM.
func OpenCertificate(certificate, key string) (*Certificate, error) {
	c := &Certificate{certificate: certificate, key: key}
	if _, err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// load takes up what the files hold, and says whether that is new.
func (c *Certificate) load() (bool, error) {
	text, err := os.ReadFile(c.certificate)
	if err != nil {
		return false, fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := os.ReadFile(c.key)
	if err != nil {
		return false, fmt.Errorf("reading the certificate's key: %w", err)
	}
	if now := c.current.Load(); now != nil && bytes.Equal(now.text, text) && bytes.Equal(now.key, key) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		return false, fmt.Errorf("reading the certificate %s with its key: %w", c.certificate, err)
	}
	next := &loaded{text: text, key: key, tls: &pair}
	if now := c.current.Load(); now != nil {
		next.before = now.tls
	}
	c.current.Store(next)
	return true, nil
}

// All are the certificate, and the one before it if there was one.
func (c *Certificate) All() []*tls.Certificate {
	now := c.current.Load()
	if now.before == nil {
		return []*tls.Certificate{now.tls}
	}
	return []*tls.Certificate{now.tls, now.before}
}

// Expiry shows when the certificate ends.
func (c *Certificate) Expiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "poolfleet_edge_certificate_expiry_timestamp_seconds",
		Help: "When the gateway's certificate ends, in Unix time; absent where something before it speaks TLS.",
	}, func() float64 { return float64(c.current.Load().tls.Leaf.NotAfter.Unix()) })
}

// config is TLS 1.2 and later, which is what workers speak.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load().tls, nil },
	}
}

// rereadInterval is for file systems that tell nobody of changes.
const rereadInterval = time.Minute

// Follow takes up changes of the files until the context ends. Where they can not be
// used, the last good certificate stays.
func (c *Certificate) Follow(ctx context.Context, log *slog.Logger) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the certificate: %w", err)
	}
	defer watcher.Close()
	// The directories: a mounted Secret is replaced by a link in them, not written to.
	for _, dir := range []string{filepath.Dir(c.certificate), filepath.Dir(c.key)} {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("watching the certificate: %w", err)
		}
	}
	ticker := time.NewTicker(rereadInterval)
	defer ticker.Stop()
	for said := ""; ; {
		said = c.reload(log, said)
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
		case err := <-watcher.Errors:
			log.Debug("changes of the certificate may be seen late", "error", err.Error())
		case <-ticker.C:
		}
	}
}

// reload says each trouble once: two files do not change at one instant.
func (c *Certificate) reload(log *slog.Logger, said string) string {
	changed, err := c.load()
	switch {
	case err != nil && err.Error() != said:
		log.Warn("the certificate can not be used, the last good one stays", "error", err.Error())
		return err.Error()
	case err != nil:
		return said
	case changed:
		log.Info("the certificate has changed")
	}
	return ""
}
