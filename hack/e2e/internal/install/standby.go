// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package install

import "context"

// again is a container that starts its server again and again: its data is gone with
// the pod, and a container that ends often is kept waiting. One that is to stay down
// it does not start: it waits for a process that stands still instead. Kubernetes
// makes one dollar sign of two.
const again = `trap "exit 0" INT TERM
while :; do
  if [ -e "$PGDATA.down" ]; then sh -c 'kill -STOP $$$$' & else postgres-entrypoint "$@" & fi
  wait
done`

// step is one thing that is done before a server starts for the first time.
type step struct {
	Name string
	// Field of the container, and its Value.
	Field, Value string
}

// steps are what makes a server other than the one that the entrypoint makes. To print
// a setting, the entrypoint makes the data directory and starts no server.
func (p *Postgres) steps() []step {
	initialise := step{"initialise", "args", "[-C, data_directory]"}
	switch {
	case p.Follows != "":
		const copied = `PGPASSWORD="$POSTGRES_PASSWORD" exec pg_basebackup --pgdata="$PGDATA" --checkpoint=fast --write-recovery-conf --dbname="host=$0 user=postgres"`
		return []step{{"follow", "command", command(copied, p.Follows)}}
	case p.Standby:
		// A server that finds standby.signal recovers until it is promoted.
		return []step{initialise, {"standby", "command", command(`: >"$PGDATA/standby.signal"`)}}
	case p.Replicated:
		return []step{initialise, {"replicated", "command", command(`echo "host replication all all scram-sha-256" >>"$PGDATA/pg_hba.conf"`)}}
	}
	return nil
}

// command is a list that runs a script, in YAML.
func command(script string, args ...string) string {
	return list(append([]string{"sh", "-c", script}, args...))
}

// Stop ends a Restartable server as an administrator does, and returns when it has
// ended. Standbys that follow have all it wrote. It stays down until the next Apply of
// another one of this name. Source: PostgreSQL docs, pg_ctl.
func (p *Postgres) Stop(ctx context.Context, tools Tools) error {
	return p.shell(ctx, tools, `: >"$PGDATA.down"; pg_ctl stop --silent --mode=fast --pgdata="$PGDATA"`)
}

// Kill ends all processes of a Restartable server at once. It stays down as after Stop.
func (p *Postgres) Kill(ctx context.Context, tools Tools) error {
	return p.shell(ctx, tools, `: >"$PGDATA.down"; kill -KILL -1`)
}

// shell runs a script in the server's container.
func (p *Postgres) shell(ctx context.Context, tools Tools, script string) error {
	_, err := tools.Run(ctx, "", tools.Kubectl, "exec", "--namespace", p.Namespace, "deployment/"+p.Name, "--", "sh", "-c", script)
	return err
}
