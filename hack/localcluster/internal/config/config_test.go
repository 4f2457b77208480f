// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

func files1(t *testing.T, change func(*Inputs)) map[string]string {
	t.Helper()
	c := plan.Cluster{Number: 2}
	in := Inputs{Cluster: c, Node: c.Node(1)}
	if change != nil {
		change(&in)
	}
	rendered, err := Files(in)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, content := range rendered {
		texts[name] = string(content)
	}
	return texts
}

// What a user's cluster leaves at its default is left at its default here, or a
// test would show something that no user sees.
func TestTheKubeletDiffersFromItsDefaultsOnlyWhereThisMachineForcesIt(t *testing.T) {
	var got map[string]any
	if err := yaml.UnmarshalStrict([]byte(files1(t, nil)["kubelet.yaml"]), &got); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for key := range got {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	want := []string{
		"apiVersion", "authentication", "cgroupDriver", "cgroupRoot", "clusterDNS", "clusterDomain",
		"containerRuntimeEndpoint", "evictionHard", "failCgroupV1", "failSwapOn", "imageGCHighThresholdPercent",
		"kind", "makeIPTablesUtilChains", "resolvConf", "tlsCertFile", "tlsPrivateKeyFile", "volumePluginDir",
	}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
	if got["cgroupRoot"] != "/poolfleet-2/node-1" {
		t.Errorf("cgroupRoot is %v", got["cgroupRoot"])
	}
}

func TestANodesPodsGetAddressesOfItsOwnRange(t *testing.T) {
	var conflist map[string]any
	text := files1(t, nil)["cni/10-localcluster.conflist"]
	if err := json.Unmarshal([]byte(text), &conflist); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, `"10.202.129.0/24"`) {
		t.Error(text)
	}
}

func TestOomScoresAreRestrictedOnlyWithoutTheCapability(t *testing.T) {
	for _, lacks := range []bool{true, false} {
		text := files1(t, func(in *Inputs) { in.NoSysResource = lacks })["containerd.toml"]
		if want := map[bool]string{true: "restrict_oom_score_adj = true", false: "restrict_oom_score_adj = false"}[lacks]; !strings.Contains(text, want) {
			t.Errorf("want %s in\n%s", want, text)
		}
	}
}

func TestAnAuditPolicyReplacesOurs(t *testing.T) {
	own := files1(t, nil)["audit.yaml"]
	if err := yaml.UnmarshalStrict([]byte(own), &map[string]any{}); err != nil || !strings.Contains(own, "Metadata") {
		t.Errorf("%v\n%s", err, own)
	}
	if got := files1(t, func(in *Inputs) { in.AuditPolicy = []byte("theirs") })["audit.yaml"]; got != "theirs" {
		t.Errorf("it is %q", got)
	}
}

func TestPodsFindTheHostByName(t *testing.T) {
	corefile := files1(t, nil)["Corefile"]
	for _, want := range []string{HostName + ":53 {", `answer "{{ .Name }} 60 IN A 10.202.0.1"`} {
		if !strings.Contains(corefile, want) {
			t.Errorf("no %s in\n%s", want, corefile)
		}
	}
}

func TestOnlyTheFirstNodeHasTheControlPlane(t *testing.T) {
	c := plan.Cluster{Number: 1}
	for index, want := range map[int][]string{
		0: {"containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"},
		1: {"containerd", "kubelet", "kube-proxy"},
	} {
		var names []string
		for _, component := range Components(c, c.Node(index)) {
			names = append(names, component.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Error(diff)
		}
	}
}
