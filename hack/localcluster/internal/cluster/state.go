// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster brings a cluster up and takes it down, and loads images into
// it. What it remembers is in the state directory; what it believes, it asks the
// kernel.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/host"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/node"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// Options say which cluster and what it is made from. All paths are absolute.
type Options struct {
	Cluster plan.Cluster
	// State is the cluster's directory.
	State string
	// Nodes is how many nodes there should be.
	Nodes int
	// NodeRoot is the directory tree a node sees as /.
	NodeRoot string
	// Kube is the localkube binary.
	Kube string
	// Pause is the archive of the pause image.
	Pause string
	// AuditPolicy is a file that replaces the API server's audit policy, or empty.
	AuditPolicy string
	// Fresh forgets every object of the cluster before it starts; images stay.
	Fresh bool
	// Out is where progress is told.
	Out io.Writer
}

// Choose returns the cluster that a state directory holds, or the first whose
// number nobody has: other checkouts have clusters on this machine too, and one
// whose processes were killed leaves its bridge behind.
func Choose(state string) (plan.Cluster, error) {
	r, err := Options{State: state}.read()
	if err != nil {
		return plan.Cluster{}, err
	}
	if r.Number != 0 {
		return plan.New(r.Number)
	}
	var free plan.Cluster
	for number := plan.MaxNumber; number > 0; number-- {
		c := plan.Cluster{Number: number}
		owner, exists, err := host.Owner(c)
		if err != nil {
			return plan.Cluster{}, err
		}
		if owner == state { // Someone may have removed the directory under a running cluster.
			return c, nil
		}
		conflicts, err := host.Conflicts(c)
		if err != nil {
			return plan.Cluster{}, err
		}
		if !exists && len(conflicts) == 0 {
			free = c
		}
	}
	if free.Number == 0 {
		return free, fmt.Errorf("all %d clusters that this machine can have are somebody's: stop one with `localcluster down`", plan.MaxNumber)
	}
	return free, nil
}

func (o Options) say(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }

// Kubeconfig is the file by which the administrator reaches the cluster.
func (o Options) Kubeconfig() string { return filepath.Join(o.State, "kubeconfig") }

func (o Options) pki() string  { return filepath.Join(o.State, "pki") }
func (o Options) file() string { return filepath.Join(o.State, "cluster.json") }

func (o Options) spec(n plan.Node) node.Spec {
	return node.Spec{
		Cluster: o.Cluster, Node: n, Root: o.NodeRoot, Kube: o.Kube,
		State: filepath.Join(o.State, "nodes", n.Name), PKI: o.pki(),
	}
}

// record is what is remembered of a running cluster.
type record struct {
	Number int       `json:"number"`
	Nodes  []running `json:"nodes"`
}

// running is a node's first process, and when it was started.
type running struct {
	host.Process
	Began time.Time `json:"began"`
}

func (o Options) read() (record, error) {
	data, err := os.ReadFile(o.file())
	if errors.Is(err, fs.ErrNotExist) {
		return record{Number: o.Cluster.Number}, nil
	}
	var r record
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return record{}, fmt.Errorf("reading %s: %w", o.file(), err)
	}
	return r, nil
}

func (o Options) write(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(o.file()+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(o.file()+".new", o.file())
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.file(), err)
	}
	return nil
}

// count counts the nodes that live, and says whether all on record do.
func (r record) count() (alive int, all bool) {
	for _, p := range r.Nodes {
		if p.Alive() {
			alive++
		}
	}
	return alive, alive == len(r.Nodes)
}

// lock keeps two runs off the same state. It is released when the process ends,
// however that happens.
func (o Options) lock() (func(), error) {
	if err := os.MkdirAll(o.State, 0o755); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(o.State, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: another localcluster is at work there: %w", o.State, err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
