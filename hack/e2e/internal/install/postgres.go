// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"cmp"
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
	// Restartable makes a server that Restart can restart, and Stop and Kill can end.
	Restartable bool
	// Replicated makes a primary that standbys may stream from. Those may, too, once
	// they are promoted.
	Replicated bool
	// Follows is the host of the primary of which the server is a streaming standby
	// until it is promoted. Empty for none.
	Follows string
	// Password of the superuser postgres; Apply sets it. That of a server that Follows
	// another is given: it is the other's.
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
	var manifest strings.Builder
	values := map[string]any{
		"Name": p.Name, "Namespace": p.Namespace, "Image": p.Image, "Args": list(args), "TLS": p.TLS, "Command": "",
	}
	if p.Restartable {
		values["Command"] = command(again, "sh")
	}
	values["Steps"] = p.steps()
	if err := postgresManifest.Execute(&manifest, values); err != nil {
		return "", fmt.Errorf("writing the server's manifest: %w", err)
	}
	return manifest.String(), nil
}

// list is a list of strings in YAML, of which JSON is a part.
func list(values []string) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // Strings can always be written.
	}
	return string(text)
}

// Restart stops a Restartable server, its clients' connections included. The server
// starts again at once; it answers some time after Restart has returned.
// Source: PostgreSQL docs, "Shutting Down the Server": SIGINT is the fast shutdown.
func (p *Postgres) Restart(ctx context.Context, tools Tools) error {
	return p.shell(ctx, tools, `read -r pid <"$PGDATA/postmaster.pid" && kill -INT "$pid"`)
}

// secret returns the password of the superuser, and makes one for a new server that
// was given none.
func (p *Postgres) secret(ctx context.Context, c client.Client) (string, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
		StringData: map[string]string{"password": cmp.Or(p.Password, rand.Text())},
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
