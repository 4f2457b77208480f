// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/poolfleet/poolfleet/internal/manifests"
)

// hidden are passwords of all sorts, by where they are kept.
var hidden = map[string]string{
	"published": stagePassword,
	"direct":    "direct word",
	"in parts":  `sl/ash@at:co+lon%20"quote"`,
	"short":     "zq9",
	"unicode":   "пароль-ü",
	"older":     "OLDERWORDOLDERWORD",
	"helm":      "value-of-the-chart",
	"key":       "bm90IHJlYWxseSBhIGtleSBidXQgbG9uZyBlbm91Z2g",
}

var escapes = regexp.MustCompile("%[0-9A-F]{2}")

// spellings are the ways in which a test writes a secret, and looks for it. They are
// made apart from the program's own.
func spellings(secret string) []string {
	all := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), escapes.ReplaceAllStringFunc(url.QueryEscape(secret), strings.ToLower),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	}
	quoted, _ := json.Marshal(secret)
	return append(all, strings.Trim(string(quoted), `"`))
}

// talkative is an API server whose logs and metrics tell every secret in every spelling.
func talkative(t *testing.T) corev1client.CoreV1Interface {
	t.Helper()
	var text strings.Builder
	text.WriteString("a line that is no secret\n")
	for _, secret := range hidden {
		for _, spelling := range spellings(secret) {
			fmt.Fprintf(&text, "level=info msg=%s, and base64 of more: %s\n", spelling, base64.StdEncoding.EncodeToString([]byte("before "+secret+" after")))
		}
	}
	text.WriteString("dsn=postgres://someone:unheard-of@else@db/x next\nurl=jdbc:postgresql://h/d?user=u&password=unheard-of&x=1\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text.String()) }))
	t.Cleanup(server.Close)
	core, err := corev1client.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// leaky are a pool, the Secrets it names and publishes, and objects that tell them.
func leaky(t *testing.T) []client.Object {
	t.Helper()
	pool, secret := shop()
	var tells []string
	for _, word := range hidden {
		tells = append(tells, spellings(word)...)
	}
	pool.Annotations = map[string]string{"note": strings.Join(tells, " "), corev1.LastAppliedConfigAnnotation: "{}"}
	pod := aPooler("shop-pool-1", func(pod *corev1.Pod) {
		pod.Spec.Containers = []corev1.Container{{Name: "pooler", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9128}}}}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "pooler", RestartCount: 1}}
	})
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop.1"}, Message: "said " + hidden["in parts"]}
	upstream := database(map[string]string{
		"host": "db", "user": "shop", "password": hidden["in parts"], "pin": hidden["short"], "more": hidden["unicode"],
		"tls.key": "-----BEGIN PRIVATE KEY-----\n" + hidden["key"] + "\n-----END PRIVATE KEY-----\n",
	})
	config := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: manifests.ConfigSecretName("shop")},
		Data:       map[string][]byte{manifests.CredentialsKey: []byte(`{"credentials":[{"username":"app","password":"` + hidden["older"] + `"}]}`)},
	}
	return []client.Object{pool, secret, pod, event, upstream, config, release(t)}
}

// release is one as Helm keeps it.
func release(t *testing.T) *corev1.Secret {
	t.Helper()
	text := `{"name":"pf","chart":{"metadata":{"name":"poolfleet","version":"1.2.3"}},"config":{"replicas":2,"grafana":{"adminPassword":"` + hidden["helm"] + `"}}}`
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "poolfleet-system", Name: "sh.helm.release.v1.pf.v1", Labels: map[string]string{"owner": "helm", "status": "deployed"}},
		Data:       map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(zipped.Bytes()))},
	}
}

// unpack returns the files of an archive.
func unpack(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "poolfleet-debug/")] = string(text)
	}
}

func TestABundleHoldsWhatAHelperNeedsAndNoSecret(t *testing.T) {
	s := aStage(t, interceptor.Funcs{}, leaky(t)...)
	s.session.core = talkative(t)
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if code := s.run(t, "debug-bundle", "-o", file); code != exitFine {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, packed)
	for name, want := range map[string]string{
		"objects/demo/ConnectionPool/shop.yaml":     "kind: ConnectionPool",
		"objects/demo/Pod/shop-pool-1.yaml":         "kind: Pod",
		"events/demo.txt":                           "said [scrubbed]",
		"logs/demo/shop-pool-1/pooler.log":          "a line that is no secret",
		"logs/demo/shop-pool-1/pooler.log.previous": "a line that is no secret",
		"metrics/demo/shop-pool-1.txt":              "a line that is no secret",
		"secrets.yaml":                              "DATABASE_URL: ",
		"values/pf.yaml":                            "replicas: 2",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q; there are %v:\n%s", name, want, slices.Sorted(maps.Keys(files)), files[name])
		}
	}
	all := slices.Concat(slices.Collect(maps.Values(files)), slices.Collect(maps.Keys(files)))
	text := strings.Join(all, "\n") + s.out.String() + s.err.String()
	for where, secret := range hidden {
		for _, spelling := range spellings(secret) {
			if strings.Contains(text, spelling) {
				t.Errorf("the secret %q is told as %q", where, spelling)
			}
		}
		if len(secret) < 4 {
			continue // No three bytes in base64 are its own.
		}
		if more := base64.StdEncoding.EncodeToString([]byte("before " + secret + " after")); strings.Contains(text, more) {
			t.Errorf("the secret %q is told within base64", where)
		}
	}
	if strings.Contains(text, "unheard-of") {
		t.Error("a password that no Secret has is told in a URL")
	}
}

func TestABundleIsNotMadeWhereASecretCanNotBeRead(t *testing.T) {
	forbidden := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*corev1.Secret); ok {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("no role"))
		}
		return c.Get(ctx, key, o, opts...)
	}}
	s := aStage(t, forbidden, leaky(t)...)
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	s.exits(t, exitUnasked, "so that its values are left out", "debug-bundle", "-o", file)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("there is a file: %v", err)
	}
}

func TestABundleNeedsAPoolAndAPlaceToBe(t *testing.T) {
	aStage(t, interceptor.Funcs{}).exits(t, exitWrong, "no ConnectionPool in namespace demo", "debug-bundle")
	aStage(t, interceptor.Funcs{}).exits(t, exitUsage, "unknown command", "debug-bundle", "shop")
	s := aStage(t, interceptor.Funcs{}, leaky(t)...)
	s.session.core = talkative(t)
	s.exits(t, exitWrong, "writing the bundle", "debug-bundle", "-o", filepath.Join(t.TempDir(), "nosuch", "file"))
}
