// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/picture"
	"github.com/poolfleet/poolfleet/internal/testenv"
)

// prometheus is a real one, outside of the cluster, which finds its pods by itself.
type prometheus struct{ address string }

// startPrometheus scrapes as docs/metrics.md says, every second.
func startPrometheus(t *testing.T) prometheus {
	t.Helper()
	return prometheus{testenv.Prometheus(t, func(dir string) map[string][]byte {
		return map[string][]byte{
			"prometheus.yml": scrapeConfig(t, dir+"/kubeconfig"),
			"poolfleet.yaml": read(t, "charts/poolfleet/files/rules/poolfleet.yaml"),
			"kubeconfig":     kubeconfig(t),
		}
	})}
}

// scrapeConfig is that of docs/metrics.md for who has no Prometheus operator, for a
// Prometheus that is not in the cluster.
func scrapeConfig(t *testing.T, kubeconfig string) []byte {
	t.Helper()
	_, rest, ok := strings.Cut(string(read(t, "docs/metrics.md")), "```yaml\nrule_files:")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("docs/metrics.md has no configuration that begins with rule_files")
	}
	var config map[string]any
	if err := yaml.Unmarshal([]byte("rule_files:"+text), &config); err != nil {
		t.Fatalf("the configuration in docs/metrics.md: %v", err)
	}
	config["global"] = map[string]string{"scrape_interval": "1s", "evaluation_interval": "1s"}
	text = strings.ReplaceAll(marshal(t, config), "role: pod", "role: pod\n    kubeconfig_file: "+kubeconfig)
	return []byte(text)
}

// kubeconfig is the one in use, with what it names by path.
func kubeconfig(t *testing.T) []byte {
	t.Helper()
	config, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err == nil {
		err = clientcmdapi.FlattenConfig(config)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(top(path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func marshal(t *testing.T, value any) string {
	t.Helper()
	data, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// series is one of an answer of Prometheus.
type series struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}

// get asks the HTTP API and returns what it has under data.
func (p prometheus) get(t *testing.T, path string, arguments url.Values, data any) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.address+"/api/v1/"+path+"?"+arguments.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		return err
	}
	if said.Error != "" {
		return fmt.Errorf("Prometheus says of %s: %s", arguments.Get("query"), said.Error)
	}
	return nil
}

func (p prometheus) query(t *testing.T, query string) ([]series, error) {
	t.Helper()
	var data struct{ Result []series }
	err := p.get(t, "query", url.Values{"query": {query}}, &data)
	return data.Result, err
}

// number is the value of a query that has one.
func (p prometheus) number(t *testing.T, query string) (float64, error) {
	t.Helper()
	found, err := p.query(t, query)
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%s has %d answers", query, len(found))
	}
	return strconv.ParseFloat(fmt.Sprint(found[0].Value[1]), 64)
}

// between is what a query was, every second.
func (p prometheus) between(t *testing.T, query string, from, to time.Time) ([]series, error) {
	t.Helper()
	var data struct{ Result []series }
	err := p.get(t, "query_range", url.Values{
		"query": {query}, "step": {"1"}, "start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)},
	}, &data)
	return data.Result, err
}

// points are the values that a line can be drawn through.
func (s series) points() (points []picture.Point) {
	for _, pair := range s.Values {
		seconds, _ := pair[0].(float64)
		if value, err := strconv.ParseFloat(fmt.Sprint(pair[1]), 64); err == nil && value == value {
			points = append(points, picture.Point{Time: time.UnixMilli(int64(1000 * seconds)), Value: value})
		}
	}
	return points
}
