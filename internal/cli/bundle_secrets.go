// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// secretOutline is what of a Secret is no secret.
type secretOutline struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Type      corev1.SecretType `json:"type"`
	// Keys has the length of each key's value, in bytes.
	Keys map[string]int `json:"keys"`
}

// learnSecrets reads every Secret that the pools name or publish. One that may not be
// read ends it: its values could not be found in what is collected.
func (b *bundle) learnSecrets(ctx context.Context) error {
	for _, pool := range b.pools {
		for _, name := range secretsOf(&pool) {
			var secret corev1.Secret
			err := b.session.client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: name}, &secret)
			if apierrors.IsNotFound(err) {
				b.lacks("Secret "+pool.Namespace+"/"+name, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("reading Secret %s of ConnectionPool %s, so that its values are left out: %w", name, pool.Name, err)
			}
			b.scrubber.learn(secret.Data)
			b.secrets = append(b.secrets, outline(&secret))
		}
	}
	b.learnValues(ctx)
	b.scrubber.finish()
	return nil
}

func outline(secret *corev1.Secret) secretOutline {
	o := secretOutline{Namespace: secret.Namespace, Name: secret.Name, Type: secret.Type, Keys: map[string]int{}}
	for key, value := range secret.Data {
		o.Keys[key] = len(value)
	}
	return o
}

func secretsOf(pool *poolv1.ConnectionPool) []string {
	spec := pool.Spec
	var names []string
	for _, name := range []string{
		spec.Upstream.SecretRef.Name, spec.Upstream.TLS.CASecretRef.Name, spec.Upstream.TLS.ClientCertSecretRef.Name,
		spec.TLS.SecretRef.Name, spec.TLS.ClientCASecretRef.Name, spec.Authentication.Query.SecretRef.Name,
		pool.Status.Binding.Name, manifests.ConfigSecretName(pool.Name),
	} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// helmRelease is what is used of a release as Helm keeps it.
type helmRelease struct {
	Name  string `json:"name"`
	Chart struct {
		Metadata struct {
			Name       string `json:"name"`
			Version    string `json:"version"`
			AppVersion string `json:"appVersion"`
		} `json:"metadata"`
	} `json:"chart"`
	Config any `json:"config"`
}

// learnValues finds the chart's values, and makes known what is secret among them.
func (b *bundle) learnValues(ctx context.Context) {
	var secrets corev1.SecretList
	err := b.session.client.List(ctx, &secrets, client.InNamespace(b.operator), client.MatchingLabels{"owner": "helm", "status": "deployed"})
	if err != nil {
		b.lacks("the chart's values", err)
		return
	}
	for _, secret := range secrets.Items {
		release, err := readRelease(secret.Data["release"])
		if err != nil {
			b.lacks("the release in Secret "+secret.Name, err)
			continue
		}
		if release.Chart.Metadata.Name == "poolfleet" {
			b.scrubber.inDocument(release.Config, secretValues, false)
			b.releases = append(b.releases, release)
		}
	}
}

// values adds the values that the chart was installed with.
func (b *bundle) values() {
	for _, release := range b.releases {
		chart := release.Chart.Metadata
		b.object("values/"+release.Name+".yaml", map[string]any{
			"release": release.Name, "chart": chart.Version, "appVersion": chart.AppVersion, "values": release.Config,
		})
	}
}

// readRelease reads what Helm 3 and 4 keep: JSON, zipped, in base64.
func readRelease(data []byte) (helmRelease, error) {
	var release helmRelease
	zipped, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data)))
	if err != nil {
		return release, fmt.Errorf("unpacking it: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(zipped, 64<<20))
	if err != nil {
		return release, fmt.Errorf("unpacking it: %w", err)
	}
	if err := json.Unmarshal(text, &release); err != nil {
		return release, fmt.Errorf("decoding it: %w", err)
	}
	return release, nil
}

// object adds a value as YAML.
func (b *bundle) object(name string, value any) {
	text, err := yaml.Marshal(value)
	if err != nil {
		b.lacks(name, err)
		return
	}
	b.add(name, string(text))
}
