// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// write renders PgBouncer's files and puts them in place. Those of TLS that are not
// among them stay until sweep: PgBouncer reads them for each login at the server.
func (s *Supervisor) write(rendering pgbouncer.Rendering) error {
	s.relay.hide(rendering.Config.Secrets())
	rendering.Paths = s.Options.paths()
	rendering.RoleLimits = s.fairness.limits
	rendering.Shedding = s.shrink.of
	rendering.Config.Server.Password = s.passwords.inFiles(rendering.Config.Server.Password)
	rendering.Config.Paused = rendering.Config.Paused || s.patience.held
	rendering.Peers = s.peering.want
	files, err := rendering.Files()
	if err != nil {
		return fmt.Errorf("the configuration can not be run: %w", err)
	}
	for _, file := range files.InOrder(rendering.Paths) {
		if err := writeFile(s.outside(file.Path), file.Data); err != nil {
			return err
		}
	}
	s.written, s.peering.written = files.TLS, rendering.Peers
	return nil
}

// outside is the path of a file of PgBouncer's as we see it.
func (s *Supervisor) outside(inside string) string {
	return filepath.Join(s.RunDir, path.Base(inside))
}

// sweep removes the certificates and keys of before, once PgBouncer runs those that
// were written last.
func (s *Supervisor) sweep() {
	keep := map[string]bool{}
	for name := range s.written {
		keep[s.outside(name)] = true
	}
	old, _ := filepath.Glob(filepath.Join(s.RunDir, pgbouncer.TLSFiles)) // The pattern is ours.
	for _, file := range old {
		if keep[file] {
			continue
		}
		if err := os.Remove(file); err != nil {
			s.Log.Warn("a certificate or key of before stays", "reason", err.Error())
		}
	}
}
