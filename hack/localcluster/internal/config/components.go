// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// Kube is where localkube is inside a node.
const Kube = "/usr/local/bin/localkube"

// Containerd is where containerd listens inside a node.
const Containerd = "/run/containerd/containerd.sock"

const (
	pki    = "/etc/kubernetes/pki"
	own    = "/etc/kubernetes/node"
	config = "/etc/kubernetes/config"
	etcd   = "http://127.0.0.1:2379"
)

// Component is a program that a node keeps running.
type Component struct {
	Name string
	Path string
	Args []string
	// After lists what has to answer before the program is started: a unix
	// socket (unix:PATH) or a URL that is to return 200.
	After []string
}

// Components returns what runs on a node, in the order in which to start it.
// The first node has the control plane.
func Components(c plan.Cluster, n plan.Node) []Component {
	list := []Component{{Name: "containerd", Path: "/usr/bin/containerd", Args: []string{"-c", config + "/containerd.toml"}}}
	if n.Index == 0 {
		list = append(list, kube("etcd", etcdArgs()), kube("kube-apiserver", apiServerArgs(c, n)))
		list = append(list, after(c, kube("kube-controller-manager", controllerManagerArgs()), kube("kube-scheduler", schedulerArgs()))...)
	}
	list = append(list, after(c, kube("kubelet", kubeletArgs(n)), kube("kube-proxy", []string{"--config=" + config + "/proxy.yaml"}))...)
	if n.Index == 0 {
		list = append(list, after(c, kube("coredns", []string{"-conf", config + "/Corefile"}))...)
	}
	return list
}

func kube(name string, args []string) Component {
	return Component{Name: name, Path: Kube, Args: args}
}

// after makes components wait for the API server, and the kubelet for containerd too.
func after(c plan.Cluster, components ...Component) []Component {
	for i := range components {
		components[i].After = []string{c.Server() + "/readyz"}
		if components[i].Name == "kubelet" {
			components[i].After = append(components[i].After, "unix:"+Containerd)
		}
	}
	return components
}

// etcdArgs: plain HTTP is safe on the loopback of the node's own network
// namespace. Not waiting for the disk loses data only when the machine fails.
func etcdArgs() []string {
	return []string{
		"--name=node-0",
		"--data-dir=/var/lib/etcd",
		"--listen-client-urls=" + etcd,
		"--advertise-client-urls=" + etcd,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=node-0=http://127.0.0.1:2380",
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

func apiServerArgs(c plan.Cluster, n plan.Node) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--secure-port=6443",
		fmt.Sprintf("--advertise-address=%s", n.IP),
		fmt.Sprintf("--service-cluster-ip-range=%s", c.Services()),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--client-ca-file=" + pki + "/ca.crt",
		"--tls-cert-file=" + pki + "/apiserver.crt",
		"--tls-private-key-file=" + pki + "/apiserver.key",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki + "/sa.pub",
		"--service-account-signing-key-file=" + pki + "/sa.key",
		"--kubelet-certificate-authority=" + pki + "/ca.crt",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt",
		"--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
		"--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file=" + pki + "/front-proxy-client.crt",
		"--proxy-client-key-file=" + pki + "/front-proxy-client.key",
		"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--audit-policy-file=" + config + "/audit.yaml",
		"--audit-log-path=/var/log/audit.log",
		"--audit-log-maxsize=50",
		"--audit-log-maxbackup=2",
	}
}

func controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + pki + "/controller-manager.kubeconfig",
		"--authentication-kubeconfig=" + pki + "/controller-manager.kubeconfig",
		"--authorization-kubeconfig=" + pki + "/controller-manager.kubeconfig",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + pki + "/sa.key",
		"--root-ca-file=" + pki + "/ca.crt",
		"--cluster-signing-cert-file=" + pki + "/ca.crt",
		"--cluster-signing-key-file=" + pki + "/ca.key",
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
	}
}

func schedulerArgs() []string {
	return []string{
		"--kubeconfig=" + pki + "/scheduler.kubeconfig",
		"--authentication-kubeconfig=" + pki + "/scheduler.kubeconfig",
		"--authorization-kubeconfig=" + pki + "/scheduler.kubeconfig",
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
	}
}

func kubeletArgs(n plan.Node) []string {
	return []string{
		"--config=" + config + "/kubelet.yaml",
		"--kubeconfig=" + own + "/kubelet.kubeconfig",
		"--hostname-override=" + n.Name,
		fmt.Sprintf("--node-ip=%s", n.IP),
	}
}
