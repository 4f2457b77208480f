// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names of the gateway's objects.
const (
	// Gateway is the name of its Deployment, Service and ServiceAccount.
	Gateway = "poolfleet-edge"
	// GatewaySecret is the Secret that holds its certificate.
	GatewaySecret = "poolfleet-edge-tls"
)

// Edge is the gateway with a certificate of an authority that nobody trusts unasked.
type Edge struct {
	// Domain that pools have their names under.
	Domain string
	// Legacy is whether it serves Prisma's clients without an engine, too.
	Legacy bool
}

func (e Edge) values(images Images) []string {
	set := append(images.Edge.values("edge.image"), "edge.enabled=true", "edge.domain="+e.Domain, "edge.tls.secretName="+GatewaySecret)
	if e.Legacy {
		set = append(append(set, images.AccelerateLegacy.values("edge.accelerateLegacy.image")...), "edge.accelerateLegacy.enabled=true")
	}
	return set
}

// Certificate leaves a Secret with a certificate for the gateway, and returns the
// certificate of its authority as PEM. One that is still good is left as it is: a
// gateway that runs would take up another only after a while.
func (e Edge) Certificate(ctx context.Context, c client.Client) ([]byte, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	if err := client.IgnoreAlreadyExists(c.Create(ctx, namespace)); err != nil {
		return nil, fmt.Errorf("making the operator's namespace: %w", err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: GatewaySecret}}
	err := c.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if err == nil && e.serves(secret.Data[corev1.TLSCertKey]) {
		return secret.Data[authorityKey], nil
	}
	if err == nil {
		err = c.Delete(ctx, secret)
	}
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("replacing the gateway's certificate: %w", err)
	}
	if secret, err = e.secret(); err != nil {
		return nil, err
	}
	if err := c.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("keeping the gateway's certificate: %w", err)
	}
	return secret.Data[authorityKey], nil
}

// authorityKey is the key that cert-manager, too, keeps the authority under.
const authorityKey = "ca.crt"

// serves reports whether a certificate is for this domain, and will be for hours.
func (e Edge) serves(cert []byte) bool {
	block, _ := pem.Decode(cert)
	if block == nil {
		return false
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	return err == nil && parsed.VerifyHostname("api."+e.Domain) == nil && time.Until(parsed.NotAfter) > 3*time.Hour
}

// secret is a new certificate of a new authority.
func (e Edge) secret() (*corev1.Secret, error) {
	authority, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	cert, key, err := authority.Issue("*."+e.Domain, e.Domain)
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: GatewaySecret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key, authorityKey: authority.PEM},
	}, nil
}

// overlay is what config/edge asks its users to write.
const overlay = `resources: [../default]
components: [../edge]
configMapGenerator:
  - name: poolfleet-edge
    namespace: %s
    literals: [domain=%s]
images:
`

// EdgeKustomization copies config to dir and adds a kustomization of the operator
// with the gateway, whose directory it returns.
func EdgeKustomization(config, dir string, images Images, edge Edge) (string, error) {
	if err := Kustomization(config, dir, images); err != nil {
		return "", err
	}
	text := fmt.Sprintf(overlay, Namespace, edge.Domain) + images.Edge.kustomized("edge")
	own := filepath.Join(dir, "with-edge")
	if err := os.Mkdir(own, 0o755); err != nil {
		return "", fmt.Errorf("making a kustomization: %w", err)
	}
	if err := os.WriteFile(filepath.Join(own, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("making a kustomization: %w", err)
	}
	return own, nil
}
