// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pgbouncer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Paths is where PgBouncer finds its surroundings, as PgBouncer sees them.
type Paths struct {
	// RunDir holds the files below and the console's socket.
	RunDir string
	// ListenAddress is the address that clients reach; empty is all there are.
	ListenAddress string
	// ListenPort is where clients connect; 0 is 5432. The socket's name ends in it too.
	ListenPort uint16
	// CAFile holds the certificates that a server's is verified with; empty is
	// /etc/ssl/certs/ca-certificates.crt.
	CAFile string
}

// Ini is the path of Files.Ini.
func (p Paths) Ini() string { return path.Join(p.RunDir, "pgbouncer.ini") }

// Userlist is the path of Files.Userlist.
func (p Paths) Userlist() string { return path.Join(p.RunDir, "userlist.txt") }

// HBA is the path of Files.HBA.
func (p Paths) HBA() string { return path.Join(p.RunDir, "hba.conf") }

// Socket is PgBouncer's own unix socket.
func (p Paths) Socket() string {
	return path.Join(p.RunDir, ".s.PGSQL."+strconv.Itoa(int(p.Port())))
}

// PeerSocket is the unix socket that cancel requests for all peers are sent to.
func (p Paths) PeerSocket() string {
	return path.Join(p.RunDir, ".s.PGSQL."+strconv.Itoa(peerPort))
}

// Port is where clients connect.
func (p Paths) Port() uint16 { return cmp.Or(p.ListenPort, 5432) }

// Files are what PgBouncer reads. All but HBA hold secrets.
type Files struct {
	Ini, Userlist, HBA []byte
	// TLS are certificates, keys and authorities, by path. A path changes with what is
	// in it: PgBouncer compares paths alone, and what it runs now stays readable.
	TLS map[string][]byte
}

// File is one of Files.
type File struct {
	Path string
	Data []byte
}

// InOrder are the files as they are to be written: none before one that it names.
func (f Files) InOrder(paths Paths) []File {
	var files []File
	for _, name := range slices.Sorted(maps.Keys(f.TLS)) {
		files = append(files, File{name, f.TLS[name]})
	}
	return append(files, File{paths.Userlist(), f.Userlist}, File{paths.HBA(), f.HBA}, File{paths.Ini(), f.Ini})
}

// Rendering is all that the files are made of.
type Rendering struct {
	Config Config
	// Limits of the databases. A database without one is left out.
	Limits Limits
	// RoleLimits are the most that each role may have of a database's limit, where
	// clients are roles of their own. A database that is not there has none.
	RoleLimits Limits
	// Shedding are the databases that Admin.Shed closes connections of; empty is all.
	Shedding map[string]bool
	Paths    Paths
	// Peers hand on each other's cancel requests.
	Peers Peers
	// ClientIdleTimeout stands in for that of Config, in seconds; empty does not.
	ClientIdleTimeout string
}

// Peers are the pool's poolers as PgBouncer's [peers] name them. The zero value is none.
type Peers struct {
	// ID is this pooler's own (peer_id), 1 to 16383.
	ID int32
	// Hosts of the others, by their ids. All listen on the same port.
	Hosts map[int32]string
}

// Render writes the files for a share of the server's connections, split over the
// databases. It returns a *ShareError when the share is too small, and
// *InvalidParameterErrors, joined with all else that Validate finds.
func Render(cfg Config, share int32, paths Paths) (Files, error) {
	limits, err := Split(cfg.Databases, share)
	if err != nil {
		return Files{}, err
	}
	return Rendering{Config: cfg, Limits: limits, Paths: paths}.Files()
}

// Files writes the files. The same Rendering gives the same bytes.
func (r Rendering) Files() (Files, error) {
	if err := Validate(r.Config); err != nil {
		return Files{}, err
	}
	databases, err := r.databases()
	if err != nil {
		return Files{}, err
	}
	var ini bytes.Buffer
	fmt.Fprintf(&ini, "[databases]\n%s\n%s[pgbouncer]\n", databases, r.peers())
	settings, material := r.settings(), r.material()
	for setting, file := range material {
		settings[setting] = file.Path
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&ini, "%s = %s\n", name, settings[name])
	}
	return Files{Ini: ini.Bytes(), Userlist: userlist(r.Config), HBA: hba(r.Config), TLS: byPath(material)}, nil
}

// databases are the lines of [databases], by name. pool_size alone is not checked
// while a server's first login is under way, and max_db_connections alone never
// shrinks, so both stand there.
func (r Rendering) databases() (string, error) {
	var lines strings.Builder
	sorted := slices.SortedFunc(slices.Values(r.Config.Databases), func(a, b Database) int { return cmp.Compare(a.Name, b.Name) })
	for _, db := range sorted {
		limit, ok := r.Limits[db.Name]
		if !ok {
			continue
		}
		if limit < 1 {
			return "", errors.New("a limit below 1 must never be written: PgBouncer reads 0 as no limit")
		}
		fmt.Fprintf(&lines, "%s =%s\n", db.Name, r.connection(db, limit))
	}
	return lines.String(), nil
}

const (
	// peerPort sets Paths.PeerSocket apart from PgBouncer's own, which is named after
	// the port that clients connect to.
	peerPort = 1
	// peerPoolSize is how many cancel requests may be on their way to a peer at once.
	// The default is default_pool_size.
	peerPoolSize = 100
)

// peers is the section [peers], or nothing. All are behind Paths.PeerSocket, whose
// server tells them apart by the requests. PgBouncer opens one connection to a peer at
// a time, and what comes meanwhile waits until another one comes, which may be never:
// its maintenance launches connections to servers alone. A unix socket is connected
// before anything else can come. Source: launch_new_connection in PgBouncer's
// objects.c, per_loop_maint in janitor.c, sbuf_connect in sbuf.c.
func (r Rendering) peers() string {
	if r.Peers.ID == 0 || len(r.Peers.Hosts) == 0 {
		return ""
	}
	var lines strings.Builder
	lines.WriteString("[peers]\n")
	for _, id := range slices.Sorted(maps.Keys(r.Peers.Hosts)) {
		fmt.Fprintf(&lines, "%d = host='%s' port=%d pool_size=%d\n", id, strings.ReplaceAll(r.Paths.RunDir, "'", "''"), peerPort, peerPoolSize)
	}
	return lines.String() + "\n"
}

func (r Rendering) connection(db Database, limit int32) string {
	var words strings.Builder
	word := func(key, value string) {
		if value != "" { // PgBouncer takes an empty value for a syntax error.
			fmt.Fprintf(&words, " %s='%s'", key, strings.ReplaceAll(value, "'", "''"))
		}
	}
	server := r.Config.Server
	word("host", server.Host)
	word("port", strconv.Itoa(int(server.Port)))
	word("dbname", db.Database)
	word("user", server.User)
	if server.User != "" {
		word("password", server.Password)
	}
	fmt.Fprintf(&words, " pool_size=%d max_db_connections=%d", min(limit, cmp.Or(r.RoleLimits[db.Name], limit)), limit)
	if len(r.Shedding) > 0 && !r.Shedding[db.Name] {
		fmt.Fprintf(&words, " %s=%d", LifetimeSetting, int64(r.Config.ServerLifetime().Seconds()))
	}
	word("connect_query", r.Config.ConnectQuery)
	return words.String()
}

// hba lets users in by password over TCP. Those of the auth_file are named: PgBouncer
// 1.26 goes on letting one in that has left the file, if it was there before. Where
// users are looked up all may come but the one that looks others up: its password is
// for PgBouncer alone. The console needs no line: PgBouncer lets its own uid in over
// the socket. "all" databases leaves out physical replication; Admin.EndReplication
// deals with logical.
func hba(cfg Config) []byte {
	var lines bytes.Buffer
	let := func(users string) {
		fmt.Fprintf(&lines, "host all %s 0.0.0.0/0 scram-sha-256\nhost all %s ::/0 scram-sha-256\n", users, users)
	}
	if cfg.Lookup.User != "" {
		fmt.Fprintf(&lines, "host all %s all reject\n", quoted(cfg.Lookup.User))
		let("all")
		return lines.Bytes()
	}
	for _, user := range byName(cfg.Users) {
		let(quoted(user.Name))
	}
	return lines.Bytes()
}

// quoted spells a name or a password as the auth_file and the HBA file do.
func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

func byName(users []User) []User {
	return slices.SortedFunc(slices.Values(users), func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
}

func userlist(cfg Config) []byte {
	users := slices.Clone(cfg.Users)
	if cfg.Lookup.User != "" {
		users = append(users, User{Name: cfg.Lookup.User, Password: cfg.Lookup.Password})
	}
	var list bytes.Buffer
	for _, user := range byName(users) {
		fmt.Fprintf(&list, "%s %s\n", quoted(user.Name), quoted(user.Password))
	}
	return list.Bytes()
}
