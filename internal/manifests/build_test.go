// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestBuildGivesTheGoldenObjects(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "*.in.yaml"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range cases {
		name := strings.TrimSuffix(filepath.Base(path), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			got := render(t, readInputs(t, name))
			golden := filepath.Join("testdata", name+".out.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("reading the golden file (go test -update writes it): %v", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("objects differ (-golden +built):\n%s", diff)
			}
		})
	}
}

func readInputs(t *testing.T, name string) Inputs {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var in Inputs
	if err := yaml.UnmarshalStrict(data, &in); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return in
}

func render(t *testing.T, in Inputs) []byte {
	t.Helper()
	var out bytes.Buffer
	for i, object := range Build(in) {
		data, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(data)
	}
	return out.Bytes()
}

// built returns an object of a pool as the API's type.
func built[T any](t *testing.T, in Inputs, kind string) T {
	t.Helper()
	for _, object := range Build(in) {
		data, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var typed struct{ metav1.TypeMeta }
		if err := json.Unmarshal(data, &typed); err != nil {
			t.Fatal(err)
		}
		if typed.Kind == kind {
			var into T
			if err := json.Unmarshal(data, &into); err != nil {
				t.Fatal(err)
			}
			return into
		}
	}
	t.Fatalf("no %s among the objects", kind)
	return *new(T)
}

func TestNothingIsClaimedThatIsNotMeant(t *testing.T) {
	for _, name := range []string{"minimal", "everything", "network-policy", "gateway", "load-balancer"} {
		for _, object := range Build(readInputs(t, name)) {
			data, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			for _, empty := range []string{`:[]`, `:null`, `creationTimestamp`, `"status":`} {
				if bytes.Contains(data, []byte(empty)) {
					t.Errorf("%s: %q in %s", name, empty, data)
				}
			}
		}
	}
}

func TestPodsAreReplacedOnlyForANewImageOrPodShape(t *testing.T) {
	template := func(change func(*Inputs)) string {
		in := readInputs(t, "minimal")
		change(&in)
		deployment := built[struct {
			Spec struct{ Template json.RawMessage }
		}](t, in, "Deployment")
		return string(deployment.Spec.Template)
	}
	before := template(func(*Inputs) {})
	staying := map[string]func(*Inputs){
		"replicas":          func(in *Inputs) { in.Replicas = 9 },
		"configuration":     func(in *Inputs) { in.Config, in.ConfigRevision = []byte("{}"), "another" },
		"published data":    func(in *Inputs) { in.Published = map[string][]byte{"password": []byte("another")} },
		"published Secret":  func(in *Inputs) { in.Secret.Name = "another" },
		"upstream port":     func(in *Inputs) { in.UpstreamPort = 6543 },
		"Service":           func(in *Inputs) { in.Service.Type = corev1.ServiceTypeLoadBalancer },
		"disruption budget": func(in *Inputs) { in.PodDisruptionBudget.MaxUnavailable = new(int32(0)) },
		"network policy":    func(in *Inputs) { in.NetworkPolicy.Mode = poolv1.NetworkPolicyEnabled },
		"gateway":           func(in *Inputs) { in.AtEdge = true },
		"operator":          func(in *Inputs) { in.OperatorNamespace = "another" },
		"scrapers":          func(in *Inputs) { in.ScraperNamespaces = []string{"another"} },
		"recreated pool":    func(in *Inputs) { in.Pool.UID = "another" },
		"a grant of the user's own": func(in *Inputs) {
			in.Pod.Annotations = map[string]string{poolv1.GrantAnnotation: `{"share":1000}`, poolv1.PeersAnnotation: `{"id":1}`}
		},
	}
	for name, change := range staying {
		if diff := cmp.Diff(before, template(change)); diff != "" {
			t.Errorf("%s replaces pods (-before +after):\n%s", name, diff)
		}
	}
	replacing := map[string]func(*Inputs){
		"image":      func(in *Inputs) { in.Image = "another" },
		"server":     func(in *Inputs) { in.Upstream = "another" },
		"pod labels": func(in *Inputs) { in.Pod.Labels = map[string]string{"team": "checkout"} },
		"drain":      func(in *Inputs) { in.Rollout.DrainTimeoutSeconds = new(int32(600)) },
	}
	for name, change := range replacing {
		if before == template(change) {
			t.Errorf("%s does not replace pods", name)
		}
	}
}

func TestPoolersAreNotKilledBeforeTheirClientsHadTheirTime(t *testing.T) {
	for drain, want := range map[*int32]int64{nil: 70, new(int32(0)): 15, new(int32(3)): 15, new(int32(600)): 610, new(int32(86400)): 86410} {
		in := readInputs(t, "minimal")
		in.Rollout.DrainTimeoutSeconds = drain
		pod := built[struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}](t, in, "Deployment").Spec.Template.Spec
		if got := *pod.TerminationGracePeriodSeconds; got != want {
			t.Errorf("a drain of %d s leaves a pod %d s, want %d", DrainSeconds(in.Rollout), got, want)
		}
	}
}

func TestNamesAndLabelsFitForTheLongestPoolName(t *testing.T) {
	name := strings.Repeat("a", 52) // The longest that the API admits.
	for _, made := range []string{PooledName(name), ConfigSecretName(name)} {
		if problems := validation.IsDNS1035Label(made); len(problems) > 0 {
			t.Errorf("%s: %v", made, problems)
		}
	}
	for key, value := range Labels(name) {
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
			t.Errorf("%s=%s: %v", key, value, problems)
		}
	}
}

func TestTheSelectorFindsThePoolersOfThisPoolAlone(t *testing.T) {
	selector, err := metav1.ParseToLabelSelector(SelectorText("shop"))
	if err != nil {
		t.Fatal(err)
	}
	matches, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	in := readInputs(t, "everything")
	pod := built[struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}](t, in, "Deployment").Spec.Template
	if !matches.Matches(labelSet(pod.Labels)) {
		t.Errorf("%s does not find pods with %v", SelectorText("shop"), pod.Labels)
	}
	if matches.Matches(labelSet(Labels("shop-two"))) {
		t.Errorf("%s finds another pool's pods", SelectorText("shop"))
	}
}

func TestFromPoolCopiesWhatShapesObjects(t *testing.T) {
	pool := &poolv1.ConnectionPool{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "demo", UID: "1"},
		Spec: poolv1.ConnectionPoolSpec{
			Replicas:            new(int32(5)),
			Image:               "example.com/pooler",
			Service:             poolv1.PoolService{Type: corev1.ServiceTypeNodePort},
			Secret:              poolv1.PublishedSecret{Name: "urls"},
			Pod:                 poolv1.PodOverrides{PriorityClassName: "high"},
			Rollout:             poolv1.Rollout{DrainTimeoutSeconds: new(int32(30))},
			PodDisruptionBudget: poolv1.PoolDisruptionBudget{MaxUnavailable: new(int32(2))},
			NetworkPolicy:       poolv1.PoolNetworkPolicy{Mode: poolv1.NetworkPolicyEnabled},
			Edge:                poolv1.PoolEdge{Mode: poolv1.EdgeEnabled},
		},
	}
	want := Inputs{
		Pool:                Owner{Name: "shop", Namespace: "demo", UID: "1"},
		Image:               pool.Spec.Image,
		Service:             pool.Spec.Service,
		Secret:              pool.Spec.Secret,
		Pod:                 pool.Spec.Pod,
		Rollout:             pool.Spec.Rollout,
		PodDisruptionBudget: pool.Spec.PodDisruptionBudget,
		NetworkPolicy:       pool.Spec.NetworkPolicy,
		AtEdge:              true,
	}
	if diff := cmp.Diff(want, FromPool(pool)); diff != "" {
		t.Errorf("inputs differ (-want +got):\n%s", diff)
	}
}
