// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poolfleet/poolfleet/hack/localcluster/internal/config"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/node"
	"github.com/poolfleet/poolfleet/hack/localcluster/internal/plan"
)

const (
	// limit is for one step on a machine that is busy with other things.
	limit = 3 * time.Minute
	poll  = 100 * time.Millisecond
	// tooOften is how many starts make a component one that will not run.
	tooOften = 3
)

var dialer = net.Dialer{Timeout: time.Second}

// settle waits until the cluster can take pods.
func (o Options) settle(ctx context.Context, r record) error {
	admin, err := o.api()
	if err != nil {
		return err
	}
	if err := o.loadPause(ctx, r); err != nil {
		return err
	}
	if err := o.wait(ctx, r, "the API server (3 to 20 s)", func() error { return admin.get(ctx, "/readyz", nil) }); err != nil {
		return err
	}
	if err := errors.Join(admin.permitCoreDNS(ctx), admin.dismissNodes(ctx, o.Cluster.Nodes(len(r.Nodes)))); err != nil {
		return err
	}
	for _, step := range o.steps(ctx, r, admin) {
		if err := o.wait(ctx, r, step.what, step.check); err != nil {
			return err
		}
	}
	return nil
}

// step is something to wait for.
type step struct {
	what  string
	check func() error
}

// steps are what has to hold before a pod made here would run.
func (o Options) steps(ctx context.Context, r record, admin *api) []step {
	var steps []step
	for i, process := range r.Nodes {
		name := o.Cluster.Node(i).Name
		steps = append(steps, step{name + " to be Ready (1 to 20 s)", func() error { return admin.nodeReady(ctx, name, process.Began) }})
	}
	return append(steps,
		step{"every component", func() error { return o.allRun(r) }},
		step{"DNS", func() error { return o.resolve(ctx) }},
		step{"Services", func() error { return o.reachService(ctx) }},
		step{"the default ServiceAccount", func() error {
			return admin.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
		}},
	)
}

// allRun returns what has not started yet.
func (o Options) allRun(r record) error {
	for i := range r.Nodes {
		for _, report := range o.reports(o.Cluster.Node(i)) {
			if !report.Running {
				return fmt.Errorf("%s does not run", report.Name)
			}
		}
	}
	return nil
}

// reachService connects to the API server's own Service, which takes kube-proxy
// and the host's route to it.
func (o Options) reachService(ctx context.Context) error {
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(o.Cluster.APIServiceIP().String(), "443"))
	if err != nil {
		return err
	}
	return conn.Close()
}

// loadPause loads the image without which no pod starts.
func (o Options) loadPause(ctx context.Context, r record) error {
	for i, process := range r.Nodes {
		name := o.Cluster.Node(i).Name
		if err := o.wait(ctx, r, "containerd on "+name, func() error { return reachContainerd(ctx, process) }); err != nil {
			return err
		}
		if err := o.loadInto(ctx, process, name, o.Pause); err != nil {
			return err
		}
	}
	return nil
}

// resolve asks the cluster's DNS server for the API server's Service.
func (o Options) resolve(ctx context.Context) error {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, net.JoinHostPort(o.Cluster.DNS().String(), "53"))
	}}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
	return err
}

// wait says what it waits for once that takes a moment, and stops early when a
// node has died or a component keeps ending.
func (o Options) wait(ctx context.Context, r record, what string, check func() error) error {
	began, told := time.Now(), false
	for {
		err := check()
		if err == nil {
			return nil
		}
		if broken := o.broken(r); broken != nil {
			return fmt.Errorf("waiting for %s: %w", what, broken)
		}
		if time.Since(began) > limit {
			return fmt.Errorf("waiting for %s: %w\n%s", what, err, o.unfinished(r))
		}
		if !told && time.Since(began) > time.Second/2 {
			told = true
			o.say("waiting for %s", what)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-time.After(poll):
		}
	}
}

// broken names what cannot be waited for, with the end of its log.
func (o Options) broken(r record) error {
	for i, process := range r.Nodes {
		n := o.Cluster.Node(i)
		logs := o.spec(n).LogDir()
		if !process.Alive() {
			return fmt.Errorf("%s has ended:\n%s", n.Name, tail(filepath.Join(logs, "init.log")))
		}
		for _, report := range o.reports(n) {
			if report.Starts >= tooOften {
				return fmt.Errorf("%s on %s keeps ending (%s):\n%s", report.Name, n.Name, report.LastExit, tail(filepath.Join(logs, report.Name+".log")))
			}
		}
	}
	return nil
}

// unfinished lists what has not started and what ended last.
func (o Options) unfinished(r record) string {
	var lines []string
	for i := range r.Nodes {
		n := o.Cluster.Node(i)
		for _, report := range o.reports(n) {
			switch {
			case report.Waiting != "":
				lines = append(lines, fmt.Sprintf("%s on %s waits for %s", report.Name, n.Name, report.Waiting))
			case !report.Running:
				lines = append(lines, fmt.Sprintf("%s on %s does not run: %s", report.Name, n.Name, report.LastExit))
			}
		}
	}
	return strings.Join(append(lines, "logs are in "+filepath.Join(o.State, "nodes")), "\n")
}

// reports returns nothing for a node that has not come to reporting yet.
func (o Options) reports(n plan.Node) []node.Report {
	reports, err := node.ReadReports(o.spec(n).ReportFile())
	if err != nil {
		return nil
	}
	return reports
}

// tail returns the last lines of a log.
func tail(path string) string {
	const lines, bytes = 15, 16 << 10
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	content = content[max(0, len(content)-bytes):]
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(append([]string{path + ":"}, all[max(0, len(all)-lines):]...), "\n  ")
}

func reachContainerd(ctx context.Context, process running) error {
	conn, err := dialer.DialContext(ctx, "unix", inNode(process, config.Containerd))
	if err != nil {
		return fmt.Errorf("connecting to containerd: %w", err)
	}
	return conn.Close()
}

// inNode is how the host sees a path of a node.
func inNode(process running, path string) string {
	return fmt.Sprintf("/proc/%d/root%s", process.PID, path)
}
