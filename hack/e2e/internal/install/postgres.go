// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/rand"
	_ "embed" // holds the manifest
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/template"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

//go:embed postgres.yaml.tmpl
var postgresText string

var postgresManifest = template.Must(template.New("postgres").Parse(postgresText))

// Postgres is a PostgreSQL server as a Deployment of one pod, a Service and a
// Secret, all of one name. Its data is gone with the pod.
type Postgres struct {
	Namespace, Name string
	Image           string
	// Settings are those of postgresql.conf, as name=value.
	Settings []string
	// Standby makes a server that is in recovery until it is promoted.
	Standby bool
	// TLS makes a server that offers TLS, with a certificate that nobody trusts.
	TLS bool
	// Restartable makes a server that Restart can restart.
	Restartable bool
	// Password of the superuser postgres; Apply sets it.
	Password string
}

// Apply creates the server or leaves it as it is.
func (p *Postgres) Apply(ctx context.Context, c client.Client, tools Tools) error {
	var err error
	if p.Password, err = p.secret(ctx, c); err != nil {
		return err
	}
	if p.TLS {
		if err := p.certificate(ctx, c); err != nil {
			return err
		}
	}
	manifest, err := p.manifest()
	if err != nil {
		return err
	}
	return tools.KubectlApply(ctx, manifest)
}

func (p *Postgres) manifest() (string, error) {
	args := []string{}
	settings := p.Settings
	if p.TLS {
		settings = append(settings, "ssl=on", "ssl_cert_file=/tls/tls.crt", "ssl_key_file=/tls/tls.key")
	}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	list, err := json.Marshal(args)
	if err != nil {
		return "", fmt.Errorf("writing the server's arguments: %w", err)
	}
	var manifest strings.Builder
	err = postgresManifest.Execute(&manifest, map[string]any{
		"Name": p.Name, "Namespace": p.Namespace, "Image": p.Image, "Args": string(list),
		"Standby": p.Standby, "TLS": p.TLS, "Restartable": p.Restartable,
	})
	if err != nil {
		return "", fmt.Errorf("writing the server's manifest: %w", err)
	}
	return manifest.String(), nil
}

// Restart stops a Restartable server, its clients' connections included. The server
// starts again at once; it answers some time after Restart has returned.
// Source: PostgreSQL docs, "Shutting Down the Server": SIGINT is the fast shutdown.
func (p *Postgres) Restart(ctx context.Context, tools Tools) error {
	const stop = `read -r pid <"$PGDATA/postmaster.pid" && kill -INT "$pid"`
	_, err := tools.Run(ctx, "", tools.Kubectl, "exec", "--namespace", p.Namespace, "deployment/"+p.Name, "--", "sh", "-c", stop)
	return err
}

// secret returns the password of the superuser, and makes one for a new server.
func (p *Postgres) secret(ctx context.Context, c client.Client) (string, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
		StringData: map[string]string{"password": rand.Text()},
	}
	err := c.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		err = c.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	}
	if err != nil {
		return "", fmt.Errorf("keeping the password of server %s: %w", p.Name, err)
	}
	return string(secret.Data["password"]), nil
}

// Host is the server's name inside the cluster.
func (p *Postgres) Host() string { return p.Name + "." + p.Namespace + ".svc" }

// AdminURL is the superuser's.
func (p *Postgres) AdminURL() string { return p.URL("postgres", p.Password, "postgres") }

// URL is that of a user.
func (p *Postgres) URL(user, password, database string) string {
	u := url.URL{
		Scheme: "postgresql", User: url.UserPassword(user, password), Host: p.Host() + ":5432", Path: database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}
