// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/cgroup"
)

// Status tells what runs of a cluster.
func Status(o Options) error {
	r, err := o.read()
	if err != nil {
		return err
	}
	alive, all := r.count()
	o.say("cluster %d in %s: %d of %d nodes run", r.Number, o.State, alive, len(r.Nodes))
	for i, process := range r.Nodes {
		n := o.Cluster.Node(i)
		o.say("%s %s process %d", n.Name, n.IP, process.PID)
		for _, report := range o.reports(n) {
			o.say("  %-24s running=%t starts=%d %s%s", report.Name, report.Running, report.Starts, report.LastExit, report.Waiting)
		}
	}
	if alive == 0 || !all {
		return fmt.Errorf("cluster %d does not run", r.Number)
	}
	groups, err := cgroup.Find()
	if err != nil {
		return err
	}
	processes, err := groups.Processes(o.Cluster.Cgroup())
	if err != nil {
		return err
	}
	o.say("%d processes; kubeconfig %s", len(processes), o.Kubeconfig())
	return nil
}
