// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/host"
)

// restricted is a pod that serves its name, in a namespace where the Pod
// Security level "restricted" is enforced.
const restricted = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: demo, labels: {app: %[1]s}, annotations: {note: first}}
spec:
  nodeName: %[2]s
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: probe
    image: %[3]s
    imagePullPolicy: IfNotPresent
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
    resources: {limits: {memory: 32Mi, cpu: 500m}}
    volumeMounts: [{name: about, mountPath: /about}]
  volumes:
  - name: about
    downwardAPI: {items: [{path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}]}
---
`

const namespace = `
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: demo}
spec: {type: NodePort, selector: {app: b}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
`

func TestTwoNodesServePods(t *testing.T) {
	archive, digest := probeImage(t)
	c := newCluster(t, 41)
	c.do(t, "up", "--nodes", "2")
	c.do(t, "load-image", archive)
	c.apply(t, namespace+
		fmt.Sprintf(restricted, "a", "node-0", probeName+":1")+
		fmt.Sprintf(restricted, "b", "node-1", probeName+"@"+digest))
	c.kubectl(t, "-n", "demo", "wait", "--for=condition=Ready", "pod/a", "pod/b", "--timeout=90s")
	podIP := c.kubectl(t, "-n", "demo", "get", "pod", "b", "-o", "jsonpath={.status.podIP}")
	serviceIP := c.kubectl(t, "-n", "demo", "get", "service", "b", "-o", "jsonpath={.spec.clusterIP}")

	t.Run("a pod reaches a pod on the other node", func(t *testing.T) {
		for _, address := range []string{podIP + ":8080", serviceIP, "b", "b.demo.svc.cluster.local"} {
			c.sees(t, "b", "get", "http://"+address)
		}
	})
	t.Run("the host reaches pods, Services and node ports", func(t *testing.T) {
		for _, address := range []string{podIP + ":8080", serviceIP, c.Node(0).IP.String() + ":30080", c.Node(1).IP.String() + ":30080"} {
			eventually(t, address, func() error { return answers("http://"+address, "b") })
		}
	})
	t.Run("a pod reaches the host by name", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "host") }))
		server.Listener = listen(t, c.HostIP().String())
		server.Start()
		defer server.Close()
		c.sees(t, "host", "get", "http://host.localcluster.internal:"+portOf(server.Listener))
	})
	t.Run("a name outside the cluster does not exist", func(t *testing.T) {
		_, err := c.try("", "-n", "demo", "exec", "a", "--", "/probe", "resolve", "example.com")
		if err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("want no such host, got %v", err)
		}
	})
	t.Run("a changed annotation reaches the running pod", func(t *testing.T) {
		c.sees(t, "first", "read", "/about/note")
		c.kubectl(t, "-n", "demo", "annotate", "--overwrite", "pod", "a", "note=second")
		c.sees(t, "second", "read", "/about/note")
	})
	t.Run("logs and port-forward work", func(t *testing.T) {
		if logs := c.kubectl(t, "-n", "demo", "logs", "b"); !strings.Contains(logs, "serving b") {
			t.Errorf("logs say %q", logs)
		}
		c.forward(t, "pod/b", "8080", "b")
	})
	t.Run("a pod beyond the restricted level is refused", func(t *testing.T) {
		bad := strings.Replace(fmt.Sprintf(restricted, "bad", "node-0", probeName+":1"), "runAsNonRoot: true", "runAsNonRoot: false", 1)
		if _, err := c.try(bad, "apply", "-f", "-"); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
			t.Errorf("want a refusal by PodSecurity, got %v", err)
		}
	})
	t.Run("the audit log tells who wrote, and not who read", func(t *testing.T) {
		log := readFile(t, filepath.Join(c.state, "nodes/node-0/log/audit.log"))
		if !strings.Contains(log, `"requestURI":"/api/v1/namespaces/demo/pods/a?fieldManager=kubectl-annotate"`) {
			t.Error("the annotation is not in the audit log")
		}
		if strings.Contains(log, `"verb":"list"`) || strings.Contains(log, `"requestObject"`) {
			t.Error("the audit log has reads or contents")
		}
	})
}

func TestAClusterComesBackAndLeavesNothingBehind(t *testing.T) {
	archive, _ := probeImage(t)
	before := machine(t)
	c, other := newCluster(t, 41), newCluster(t, 42)
	if found := append(c.traces(t), other.traces(t)...); len(found) > 0 {
		t.Fatalf("there are traces of an earlier run: %v", found)
	}
	c.do(t, "up")
	for _, want := range []string{"link " + c.Node(0).Link, "a route", "/sys/fs/cgroup/", "process "} {
		if !strings.Contains(strings.Join(c.traces(t), "\n"), want) {
			t.Errorf("a cluster that runs leaves no trace %q: this test would see nothing", want)
		}
	}
	c.do(t, "load-image", archive)
	c.apply(t, namespace+fmt.Sprintf(restricted, "b", "node-0", probeName+":1"))
	c.ready(t)

	t.Run("a second up changes nothing", func(t *testing.T) {
		record := readFile(t, filepath.Join(c.state, "cluster.json"))
		c.do(t, "up")
		if got := readFile(t, filepath.Join(c.state, "cluster.json")); got != record {
			t.Errorf("it was %s and is %s", record, got)
		}
	})
	t.Run("a component that is killed is started again", func(t *testing.T) {
		output, err := exec.Command("kill", "-9", c.pid(t, "kube-scheduler")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		eventually(t, "the scheduler's second start", func() error {
			reports := readFile(t, filepath.Join(c.state, "nodes/node-0/log/components.json"))
			if strings.Contains(reports, `"starts": 2`) {
				return nil
			}
			return errors.New(reports)
		})
	})
	t.Run("a second cluster runs beside the first", func(t *testing.T) {
		other.do(t, "up")
		other.kubectl(t, "get", "node", "node-0")
		if _, err := other.try("", "get", "namespace", "demo"); err == nil {
			t.Error("the clusters share objects")
		}
		other.do(t, "down", "--purge")
		if found := other.traces(t); len(found) > 0 {
			t.Errorf("left behind: %v", found)
		}
	})
	t.Run("down leaves nothing in the kernel, and up brings the objects back", func(t *testing.T) {
		c.do(t, "down")
		if found := c.traces(t); len(found) > 0 {
			t.Errorf("left behind: %v", found)
		}
		c.do(t, "up")
		c.ready(t)
	})
	t.Run("up recovers from a node that was killed", func(t *testing.T) {
		c.killNode(t)
		c.do(t, "up")
		c.ready(t)
	})
	t.Run("fresh forgets the objects and keeps the images", func(t *testing.T) {
		c.do(t, "up", "--fresh")
		if _, err := c.try("", "get", "namespace", "demo"); err == nil {
			t.Error("the namespace is still there")
		}
		c.apply(t, namespace+fmt.Sprintf(restricted, "b", "node-0", probeName+":1"))
		c.ready(t)
	})
	t.Run("a node that is added is used, and one that is gone is forgotten", func(t *testing.T) {
		c.do(t, "up", "--nodes", "2")
		c.kubectl(t, "wait", "--for=condition=Ready", "node/node-0", "node/node-1", "--timeout=30s")
		c.do(t, "down")
		c.do(t, "up")
		if nodes := strings.TrimSpace(c.kubectl(t, "get", "nodes", "-o", "name")); nodes != "node/node-0" {
			t.Errorf("there are %s", nodes)
		}
	})
	t.Run("down works without the state it was started with", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(c.state, "cluster.json")); err != nil {
			t.Fatal(err)
		}
		c.do(t, "down")
		if found := c.traces(t); len(found) > 0 {
			t.Errorf("left behind: %v", found)
		}
		c.do(t, "up")
	})
	t.Run("down works after a kill and removes the state", func(t *testing.T) {
		c.killNode(t)
		c.do(t, "down", "--purge")
		if _, err := os.Stat(c.state); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state is still there: %v", err)
		}
	})
	if found := append(c.traces(t), other.traces(t)...); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	for name, was := range before {
		if is := machine(t)[name]; is != was {
			t.Errorf("%s was %q and is %q", name, was, is)
		}
	}
}

func (c testCluster) ready(t *testing.T) {
	t.Helper()
	ip := ""
	eventually(t, "pod b", func() (err error) {
		ip, err = c.try("", "-n", "demo", "get", "pod", "b", "-o", "jsonpath={.status.podIP}")
		if err != nil {
			return err
		}
		return answers("http://"+ip+":8080", "b")
	})
}

// sees waits until the probe in pod a answers want.
func (c testCluster) sees(t *testing.T, want string, probe ...string) {
	t.Helper()
	eventually(t, fmt.Sprint(probe), func() error {
		got, err := c.try("", append([]string{"-n", "demo", "exec", "a", "--", "/probe"}, probe...)...)
		if err == nil && got != want {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}

func answers(url, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Close = true // A kept connection would not be balanced anew.
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if got := string(body); got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

func (c testCluster) forward(t *testing.T, target, port, want string) {
	t.Helper()
	listener := listen(t, "127.0.0.1")
	local := portOf(listener)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	forward := exec.Command(".cache/bin/localkube", "kubectl", "--kubeconfig", filepath.Join(c.state, "kubeconfig"),
		"-n", "demo", "port-forward", target, local+":"+port)
	forward.Dir = checkout
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = forward.Process.Kill(), forward.Wait() }()
	eventually(t, "port-forward", func() error { return answers("http://127.0.0.1:"+local, want) })
}

func listen(t *testing.T, ip string) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func portOf(listener net.Listener) string {
	address := listener.Addr().String()
	return address[strings.LastIndex(address, ":")+1:]
}

// killNode kills the first process of the first node, as a crash would.
func (c testCluster) killNode(t *testing.T) {
	t.Helper()
	var record struct{ Nodes []host.Process }
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(c.state, "cluster.json"))), &record); err != nil {
		t.Fatal(err)
	}
	if err := record.Nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node's end", func() error {
		if record.Nodes[0].Alive() {
			return errors.New("it lives")
		}
		return nil
	})
}

// pid finds a component of the cluster by its name.
func (c testCluster) pid(t *testing.T, name string) string {
	t.Helper()
	for _, process := range c.processes(t) {
		pid := strings.Split(process, "/")[2]
		if strings.HasPrefix(readFile(t, "/proc/"+pid+"/cmdline"), name+"\x00") {
			return pid
		}
	}
	t.Fatalf("there is no process %s", name)
	return ""
}
