// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/cgroup"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/host"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

// patience is how long killed processes may take to be gone.
const patience = 20 * time.Second

// Down stops the cluster and leaves nothing of it in the kernel: no process,
// mount, namespace, link, route or cgroup. With purge the state goes as well.
func Down(o Options, purge bool) error {
	owner, _, err := host.Owner(o.Cluster)
	if err != nil {
		return err
	}
	// Someone may have removed the directory under a running cluster.
	if _, err := os.Stat(o.State); os.IsNotExist(err) && owner != o.State {
		o.say("there is no cluster in %s", o.State)
		return nil
	}
	unlock, err := o.lock()
	if err != nil {
		return err
	}
	defer unlock()
	groups, err := cgroup.Find()
	if err != nil {
		return err
	}
	r, err := o.read()
	if err != nil {
		return err
	}
	if o.Cluster, err = plan.New(r.Number); err != nil {
		return fmt.Errorf("reading %s: %w", o.file(), err)
	}
	if _, err := o.stop(groups, r); err != nil {
		return err
	}
	o.say("cluster %d is down", o.Cluster.Number)
	if !purge {
		return nil
	}
	if err := os.RemoveAll(o.State); err != nil {
		return fmt.Errorf("removing the state: %w", err)
	}
	o.say("%s is removed", o.State)
	return nil
}

// stop ends what is on record, and then whatever is left in the cluster's
// cgroup, on record or not. A cluster of the same number with another owner is
// left alone.
func (o Options) stop(groups cgroup.Hierarchies, r record) (record, error) {
	owner, exists, err := host.Owner(o.Cluster)
	if err != nil {
		return r, err
	}
	if exists && owner != o.State {
		return r, fmt.Errorf("cluster number %d belongs to %s", o.Cluster.Number, owner)
	}
	for _, p := range r.Nodes {
		// Killing the first process of a PID namespace kills all of it.
		if err := p.Kill(); err != nil {
			return r, err
		}
	}
	if err := groups.Remove(o.Cluster.Cgroup(), patience); err != nil {
		return r, err
	}
	for _, n := range o.Cluster.Nodes(plan.MaxNodes) {
		if err := host.Unplug(n); err != nil {
			return r, err
		}
	}
	r.Nodes = nil
	return r, errors.Join(host.RemoveBridge(o.Cluster), o.write(r))
}
