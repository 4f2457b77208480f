// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package pooler runs PgBouncer in a pooler pod: it obeys the pod's grant and the
// pool's configuration, keeps PgBouncer running, drains it, and tells its state. It
// knows no Kubernetes API; both orders come as files. It never runs PgBouncer
// without a grant that is this pod's own.
package pooler

import (
	"cmp"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolfleet/poolfleet/internal/contract"
	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// Options say where things are. Zero values stand for those of a pooler's container.
type Options struct {
	// ConfigDir, PodDir and RunDir are those of package contract.
	ConfigDir, PodDir, RunDir string
	// ListenAddress is the address that PgBouncer listens at; empty is all there are.
	ListenAddress string
	// ClientPort is where PgBouncer listens.
	ClientPort uint16
	// StatusAddress is where health and status are served, "host:port".
	StatusAddress string
	// MetricsAddress is where figures are served, "host:port".
	MetricsAddress string
	// PgBouncer is the program's path.
	PgBouncer string
	// CAFile holds the certificates that a server's is verified with.
	CAFile string
	// DrainTimeout is how long clients have to leave where the configuration does not
	// say. It must end before the pod's grace period does.
	DrainTimeout time.Duration
	// SpreadTime of it is for the news to spread that this pod takes no more clients;
	// meanwhile it takes them.
	SpreadTime time.Duration
	// UnreadyTime is how much longer that takes where the pod is not deleted.
	UnreadyTime time.Duration
	// PollInterval is how often files are read without a sign of a change.
	PollInterval time.Duration

	// Silence of the supervisor or of PgBouncer for so long is taken for being stuck.
	Silence time.Duration

	// Root is the root file system that Command runs PgBouncer in, where that is not
	// ours. RunDir must lie in it.
	Root string
	// Command makes PgBouncer's command; nil is exec.Command.
	Command func(name string, args ...string) *exec.Cmd
	// Dial reaches PgBouncer's console; nil is net.Dialer.
	Dial pgconn.DialFunc

	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.ConfigDir = cmp.Or(o.ConfigDir, contract.ConfigDir)
	o.PodDir = cmp.Or(o.PodDir, contract.PodDir)
	o.RunDir = cmp.Or(o.RunDir, contract.RunDir)
	o.ClientPort = cmp.Or(o.ClientPort, contract.ClientPort)
	o.StatusAddress = cmp.Or(o.StatusAddress, net.JoinHostPort("", strconv.Itoa(contract.StatusPort)))
	o.MetricsAddress = cmp.Or(o.MetricsAddress, net.JoinHostPort("", strconv.Itoa(contract.MetricsPort)))
	o.PgBouncer = cmp.Or(o.PgBouncer, "/usr/sbin/pgbouncer")
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 50*time.Second)
	o.SpreadTime = cmp.Or(o.SpreadTime, contract.SpreadTime)
	o.UnreadyTime = cmp.Or(o.UnreadyTime, contract.UnreadyTime)
	o.PollInterval = cmp.Or(o.PollInterval, 5*time.Second)
	o.Silence = cmp.Or(o.Silence, 30*time.Second)
	o.Log = cmp.Or(o.Log, slog.Default())
	if o.Command == nil {
		o.Command = exec.Command
	}
	return o
}

// paths are those that PgBouncer sees.
func (o Options) paths() pgbouncer.Paths {
	inside := o.RunDir
	if o.Root != "" {
		inside = "/" + strings.TrimPrefix(strings.TrimPrefix(o.RunDir, filepath.Clean(o.Root)), "/")
	}
	return pgbouncer.Paths{RunDir: inside, ListenAddress: o.ListenAddress, ListenPort: o.ClientPort, CAFile: o.CAFile}
}

func (o Options) admin() pgbouncer.Admin {
	return pgbouncer.Admin{SocketDir: o.paths().RunDir, Port: o.ClientPort, Dial: o.Dial, Timeout: 3 * time.Second}
}
