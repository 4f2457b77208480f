// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package rootfs

// Suite is the one Debian suite that every set comes from: old enough to be
// tested, new enough for the floors below. Its packages move, so sets name
// programs and floors; libraries follow from Debian's own dependencies.
const Suite = "forky"

// Program is a package a set is made for.
type Program struct {
	Package string
	// Floor is the lowest version we work with; empty means any.
	Floor string
}

// User is a line of /etc/passwd and its group of the same name and number.
type User struct {
	Name string
	ID   int
	Home string
}

// Set is what a root file system consists of.
type Set struct {
	Name     string
	Programs []Program
	// Follow matches the dependencies that come along, at any depth, but for
	// those that Avoid matches.
	Follow, Avoid string
	// Only keeps, of the named packages, no more than the files below these prefixes.
	Only map[string][]string
	// Drop leaves files below these prefixes out, beside what every set leaves out.
	Drop []string
	// Links maps a directory of links to the pattern of what they lead to, so that
	// users of a set need no version number in a path.
	Links map[string]string
	Users []User
	// Devices asks for device nodes under /dev, for use by chroot; images get none.
	Devices bool
}

// PoolerID is the user and group that poolers and their PostgreSQL run as.
const PoolerID = 65532

// libraries matches the packages of shared libraries. Some packages called lib*
// hold none: character set converters, PAM modules, Perl, files in common.
const (
	libraries   = `^(lib|zlib1g$)`
	noLibraries = `^lib(c-|pam-|perl|debconf)|-(common|bin|modules|l10n)$`
)

var (
	root     = User{Name: "root", ID: 0, Home: "/root"}
	nobody   = User{Name: "nobody", ID: 65534, Home: "/"}
	onlyCert = map[string][]string{"ca-certificates": {"usr/share/ca-certificates/mozilla/"}}
)

// Sets returns every set there is, by name.
func Sets() map[string]Set {
	sets := map[string]Set{}
	for _, set := range []Set{static(), pgbouncer(), nodejs(), postgres(), node(), prometheus()} {
		sets[set.Name] = set
	}
	return sets
}

// static is for a statically linked program that speaks TLS.
func static() Set {
	return Set{
		Name:     "static",
		Programs: []Program{{"ca-certificates", ""}},
		Follow:   libraries,
		Avoid:    noLibraries,
		Only:     onlyCert,
		Users:    []User{root, nobody, {"poolfleet", PoolerID, "/"}},
	}
}

// pgbouncer has no shell, no package manager and no Perl. Floor: 1.26.1 is the
// version whose behaviour the pooler and its tests rely on.
func pgbouncer() Set {
	return Set{
		Name:     "pgbouncer",
		Programs: []Program{{"pgbouncer", "1.26.1"}, {"ca-certificates", ""}},
		Follow:   libraries,
		Avoid:    noLibraries,
		Only:     onlyCert,
		Drop:     []string{"etc/pgbouncer/", "etc/default/", "usr/share/pgbouncer/"},
		Users:    []User{root, nobody, {"pooler", PoolerID, "/"}},
		Devices:  true,
	}
}

// nodejs runs JavaScript; Debian's keeps some of its own in packages of theirs. npm stays
// out. Floor: 20 is the oldest version that our program is written for.
func nodejs() Set {
	return Set{
		Name:     "nodejs",
		Programs: []Program{{"nodejs", "20"}, {"ca-certificates", ""}},
		Follow:   libraries + `|^node-`,
		Avoid:    noLibraries + `|^node-corepack$`,
		Only:     onlyCert,
		Drop:     []string{"usr/share/nodejs/@types/", "usr/share/nodejs/llparse"},
		Users:    []User{root, nobody, {"node", PoolerID, "/"}},
		Devices:  true,
	}
}

// postgres follows the metapackage to the newest PostgreSQL of the suite. It has
// dash, because initdb and pg_ctl start the server through sh (popen(3), system(3)),
// and no LLVM: the JIT is a package of its own that is not followed.
func postgres() Set {
	return Set{
		Name: "postgres",
		Programs: []Program{
			{"postgresql", "18"}, {"dash", ""}, {"tzdata", ""}, {"libc-bin", ""}, {"ca-certificates", ""},
		},
		Follow: libraries + `|^postgresql-(client-)?[0-9]+$`,
		Avoid:  noLibraries,
		Only: map[string][]string{
			"ca-certificates": onlyCert["ca-certificates"],
			"libc-bin":        {"usr/lib/locale/C.utf8/", "usr/bin/locale"}, // initdb asks `locale -a` for collations.
		},
		Links:   map[string]string{"usr/bin": "usr/lib/postgresql/*/bin/*"},
		Users:   []User{root, nobody, {"postgres", PoolerID, "/"}},
		Devices: true,
	}
}

// prometheus evaluates the alerting rules and the dashboard's queries in tests; no
// image has it. Its pages of the browser stay out.
func prometheus() Set {
	return Set{
		Name:     "prometheus",
		Programs: []Program{{"prometheus", "3.5"}, {"promtool", "3.5"}, {"tzdata", ""}, {"ca-certificates", ""}},
		Follow:   libraries,
		Avoid:    noLibraries,
		Only:     map[string][]string{"prometheus": {"usr/bin/"}, "promtool": {"usr/bin/"}, "ca-certificates": onlyCert["ca-certificates"]},
		Users:    []User{root, nobody},
		Devices:  true,
	}
}

// node is what a Kubernetes node's own processes need. Floors: Kubernetes 1.36
// speaks to containerd 2; runc 1.2 is what containerd 2 is tested with.
func node() Set {
	return Set{
		Name: "node",
		Programs: []Program{
			{"containerd", "2.0"},
			{"runc", "1.2"},
			{"containernetworking-plugins", "1.4"},
			{"nftables", "1.0.1"},
			{"iproute2", ""},
			{"conntrack", ""},
			{"kmod", ""},
			{"util-linux", ""},
			{"mount", ""},
			{"coreutils", ""},
			{"procps", ""},
			{"bash", ""},
			{"dash", ""},
			{"grep", ""},
			{"sed", ""},
			{"ca-certificates", ""},
		},
		Follow: libraries,
		Avoid:  noLibraries,
		Only:   onlyCert,
		Drop: []string{ // Debian ships the test helpers of containerd and runc with them.
			"usr/lib/containerd/", "usr/lib/cni/cni-bridge-fp", "usr/sbin/remap-rootfs", "usr/sbin/seccompagent",
			"usr/sbin/sd-helper", "usr/sbin/recvtty", "usr/sbin/pidfd-kill", "usr/sbin/fs-idmap",
		},
		Users:   []User{root, nobody},
		Devices: true,
	}
}
