// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/cgroup"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/config"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/host"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/node"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/pki"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// Up makes the cluster run with at least o.Nodes nodes and returns when pods can
// be made: nodes Ready, DNS answering, the default ServiceAccount there. What
// runs already is left running.
func Up(ctx context.Context, o Options) error {
	began := time.Now()
	unlock, err := o.lock()
	if err != nil {
		return err
	}
	defer unlock()
	groups, err := cgroup.Find()
	if err != nil {
		return err
	}
	if err := o.check(groups); err != nil {
		return err
	}
	r, err := o.prepare(groups)
	if err != nil {
		return err
	}
	for _, n := range o.Cluster.Nodes(o.Nodes)[min(len(r.Nodes), o.Nodes):] {
		if r, err = o.addNode(groups, r, n); err != nil {
			return err
		}
	}
	if err := o.settle(ctx, r); err != nil {
		return err
	}
	o.say("cluster %d is up after %.1f s: export KUBECONFIG=%s", o.Cluster.Number, time.Since(began).Seconds(), o.Kubeconfig())
	return nil
}

// prepare clears away what is left of a cluster that does not wholly run, and
// makes certificates.
func (o Options) prepare(groups cgroup.Hierarchies) (record, error) {
	r, err := o.read()
	if err != nil {
		return record{}, err
	}
	if r.Number != o.Cluster.Number {
		return record{}, fmt.Errorf("%s is the state of cluster number %d, not %d", o.State, r.Number, o.Cluster.Number)
	}
	alive, all := r.count()
	if alive > 0 && all && !o.Fresh {
		return r, nil
	}
	if alive > 0 {
		o.say("stopping the %d nodes that run", alive)
	}
	if r, err = o.stop(groups, r); err != nil {
		return record{}, err
	}
	if o.Fresh {
		if err := o.forget(); err != nil {
			return record{}, err
		}
	}
	if err := pki.MakeCluster(o.pki(), o.Cluster); err != nil {
		return record{}, err
	}
	return r, copyFile(filepath.Join(o.pki(), "admin.kubeconfig"), o.Kubeconfig())
}

// forget removes the API server's objects and what the kubelets know of them.
func (o Options) forget() error {
	for _, n := range o.Cluster.Nodes(plan.MaxNodes) {
		for _, name := range []string{"etcd", "kubelet"} {
			if err := os.RemoveAll(filepath.Join(o.State, "nodes", n.Name, name)); err != nil {
				return fmt.Errorf("forgetting the cluster's objects: %w", err)
			}
		}
	}
	return nil
}

// addNode starts a node and remembers it. Until it is told to go on, which is
// the last step, a new node does nothing but wait, and ends if we do.
func (o Options) addNode(groups cgroup.Hierarchies, r record, n plan.Node) (record, error) {
	o.say("starting %s at %s", n.Name, n.IP)
	spec, err := o.equip(n)
	if err != nil {
		return r, err
	}
	// The bridge first: it says whose the number is.
	if err := host.MakeBridge(o.Cluster, o.State); err != nil {
		return r, err
	}
	if err := groups.Make(n.SystemCgroup); err != nil {
		return r, err
	}
	began := time.Now()
	pid, release, err := start(spec)
	if err != nil {
		return r, err
	}
	defer func() { _ = release(false) }()
	process, err := host.Identify(pid)
	if err != nil {
		return r, err
	}
	r.Nodes = append(r.Nodes, running{Process: process, Began: began})
	if err := errors.Join(o.write(r), groups.Enter(n.SystemCgroup, pid), host.PlugIn(o.Cluster, n, pid)); err != nil {
		return r, err
	}
	return r, release(true)
}

// equip writes everything the node will read.
func (o Options) equip(n plan.Node) (string, error) {
	spec := o.spec(n)
	if err := errors.Join(spec.MakeDirs(), rotateLogs(spec.LogDir())); err != nil {
		return "", err
	}
	if err := pki.MakeNode(o.pki(), spec.CertDir(), o.Cluster, n); err != nil {
		return "", err
	}
	noResource, err := host.Lacks(unix.CAP_SYS_RESOURCE)
	if err != nil {
		return "", err
	}
	in := config.Inputs{Cluster: o.Cluster, Node: n, NoSysResource: noResource}
	if o.AuditPolicy != "" {
		if in.AuditPolicy, err = os.ReadFile(o.AuditPolicy); err != nil {
			return "", fmt.Errorf("reading the audit policy: %w", err)
		}
	}
	files, err := config.Files(in)
	if err != nil {
		return "", err
	}
	for name, content := range files {
		path := filepath.Join(spec.ConfigDir(), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			return "", fmt.Errorf("writing the configuration of %s: %w", n.Name, err)
		}
	}
	return spec.Write()
}

// start forks this program into the namespaces of a new node. The function it
// returns sends the node on its way, or away; only its first call counts.
func start(specFile string) (int, func(bool) error, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return 0, nil, fmt.Errorf("starting a node: %w", err)
	}
	defer reader.Close()
	log, err := os.OpenFile(filepath.Join(filepath.Dir(specFile), "log", "init.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, nil, fmt.Errorf("starting a node: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", node.Command, specFile)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{reader}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, errors.Join(fmt.Errorf("starting a node: %w", err), writer.Close())
	}
	go func() { _ = cmd.Wait() }() // So that a node that ends while we wait for it is seen to be gone.
	return cmd.Process.Pid, func(proceed bool) error {
		defer writer.Close()
		if !proceed {
			return nil
		}
		if _, err := writer.Write([]byte{1}); err != nil {
			return fmt.Errorf("sending a node on its way: %w", err)
		}
		return nil
	}, nil
}

// rotateLogs keeps the logs of one earlier run. The audit log is the API
// server's to rotate.
func rotateLogs(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		if strings.HasPrefix(filepath.Base(log), "audit") {
			continue
		}
		if err := os.Rename(log, log+".1"); err != nil {
			return fmt.Errorf("rotating logs: %w", err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "components.json")); err != nil {
		return fmt.Errorf("rotating logs: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}
