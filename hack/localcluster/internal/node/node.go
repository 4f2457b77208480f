// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package node is a node from the inside: the first process in its namespaces.
// It builds the node's root file system, sets up its network and keeps its
// components running. It changes nothing outside these namespaces.
package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/config"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// Command is the hidden subcommand by which the program becomes a node.
const Command = "node-init"

// GoFD is the file descriptor on which a node waits for one byte: its cgroup
// and its cable are there. End of file means that nobody is coming.
const GoFD = 3

const reportName = "components.json"

// Spec is what a node is told.
type Spec struct {
	Cluster plan.Cluster
	Node    plan.Node
	// Root is the directory tree of Debian packages that the node sees as /, unchanged.
	Root string
	// Kube is the localkube binary.
	Kube string
	// State is the node's directory and PKI the cluster's, both on the host.
	State string
	PKI   string
}

// The parts of a node's state directory.
func (s Spec) sub(name string) string { return filepath.Join(s.State, name) }

// LogDir is where the components log, /var/log in the node.
func (s Spec) LogDir() string { return s.sub("log") }

// ConfigDir is /etc/kubernetes/config in the node.
func (s Spec) ConfigDir() string { return s.sub("config") }

// CertDir is /etc/kubernetes/node in the node.
func (s Spec) CertDir() string { return s.sub("pki") }

// ReportFile is where the node reports on its components.
func (s Spec) ReportFile() string { return filepath.Join(s.LogDir(), reportName) }

// kept maps what outlives the node to where the node sees it.
func (s Spec) kept() map[string]string {
	return map[string]string{
		s.LogDir():          "/var/log",
		s.ConfigDir():       "/etc/kubernetes/config",
		s.CertDir():         "/etc/kubernetes/node",
		s.sub("containerd"): "/var/lib/containerd",
		s.sub("kubelet"):    "/var/lib/kubelet",
	}
}

// binds adds what only the first node has.
func (s Spec) binds() map[string]string {
	binds := s.kept()
	if s.Node.Index == 0 {
		binds[s.sub("etcd")] = "/var/lib/etcd"
		binds[s.PKI] = "/etc/kubernetes/pki"
	}
	return binds
}

// MakeDirs makes the node's directories on the host.
func (s Spec) MakeDirs() error {
	for dir := range s.binds() {
		// etcd refuses a directory that others can read.
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making directories of %s: %w", s.Node.Name, err)
		}
	}
	return nil
}

// Write saves the spec for Main to read.
func (s Spec) Write() (string, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.WriteFile(s.sub("node.json"), data, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("writing the spec of %s: %w", s.Node.Name, err)
	}
	return s.sub("node.json"), nil
}

// Main is the life of a node; it returns only when it cannot begin.
func Main(specFile string) error {
	data, err := os.ReadFile(specFile)
	if err != nil {
		return fmt.Errorf("reading the node's spec: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("reading the node's spec: %w", err)
	}
	if err := awaitGo(); err != nil {
		return err
	}
	if err := enterRoot(spec); err != nil {
		return err
	}
	if err := setUpNetwork(spec); err != nil {
		return err
	}
	supervise(config.Components(spec.Cluster, spec.Node))
	return nil
}

func awaitGo() error {
	pipe := os.NewFile(GoFD, "go")
	defer pipe.Close()
	if n, err := pipe.Read(make([]byte, 1)); n != 1 {
		return errors.Join(errors.New("whoever started this node has gone"), err)
	}
	return nil
}
