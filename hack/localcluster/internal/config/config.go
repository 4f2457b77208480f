// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package config renders what the programs of a node are told: their
// configuration files and their arguments. It does no I/O.
package config

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"text/template"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// PauseImage holds a pod's namespaces; it has to be loaded before the first pod.
const PauseImage = "localhost/poolfleet/pause:1"

// HostName is the name by which pods find the machine the cluster runs on.
const HostName = "host.localcluster.internal"

// Inputs is what the files depend on.
type Inputs struct {
	Cluster plan.Cluster
	Node    plan.Node
	// NoSysResource says that this machine has no CAP_SYS_RESOURCE to give.
	NoSysResource bool
	// AuditPolicy replaces the API server's audit policy unless it is empty.
	AuditPolicy []byte
}

// PauseImage and HostName are methods for the templates' sake.
func (Inputs) PauseImage() string { return PauseImage }

// HostName is the constant of that name.
func (Inputs) HostName() string { return HostName }

// places says where below the configuration directory each file goes.
var places = map[string]string{
	"containerd.toml": "containerd.toml",
	"kubelet.yaml":    "kubelet.yaml",
	"proxy.yaml":      "proxy.yaml",
	"Corefile":        "Corefile",
	"cni.conflist":    "cni/10-localcluster.conflist",
	"audit.yaml":      "audit.yaml",
}

//go:embed files
var files embed.FS

// Files returns the configuration files of a node by their path below
// /etc/kubernetes/config.
func Files(in Inputs) (map[string][]byte, error) {
	rendered := map[string][]byte{}
	for name, place := range places {
		content, err := render(name, in)
		if err != nil {
			return nil, fmt.Errorf("rendering %s: %w", name, err)
		}
		rendered[place] = content
	}
	if len(in.AuditPolicy) > 0 {
		rendered[places["audit.yaml"]] = in.AuditPolicy
	}
	return rendered, nil
}

func render(name string, in Inputs) ([]byte, error) {
	source, err := fs.ReadFile(files, "files/"+name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(source))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, in); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
