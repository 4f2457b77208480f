// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package pooler

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lines of one kind that are passed on in a window; the rest is counted. Refused
// logins and their retries come by the second and from every client.
const (
	linesPerWindow = 5
	logWindow      = 10 * time.Second
	kindsPerWindow = 512
)

// soon are the times after which to look whether a connection is lost.
var soon = []time.Duration{0, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond}

// relay passes PgBouncer's log on, without passwords and without floods.
type relay struct {
	log *slog.Logger

	mu      sync.Mutex
	secrets []string
	window  time.Time
	// counts are the lines of each kind in the window, leftOut those not passed on.
	counts, leftOut map[string]int
	// refused are the logins that the server had no room for.
	refused int64
	// wrong are the logins that the server refused for the password, lost the
	// connections that it closed or refused.
	wrong, lost int64
	// failed are the signs that PgBouncer's last login has failed.
	failed int64
	// woken is told of those that are lost.
	woken chan struct{}
	// complaints are the last errors and warnings that are about no connection, for
	// who asks why.
	complaints []string
}

var (
	// logLine: "2026-11-22 06:26:16.591 UTC [9808] ERROR message".
	logLine = regexp.MustCompile(`^\S+ \S+ \S+ \[(\d+)\] (NOISE|DEBUG|LOG|WARNING|ERROR|FATAL) (.*)$`)
	// quotedValue: PgBouncer quotes a database's whole line, password and all.
	quotedValue = regexp.MustCompile(`invalid value ".*" for parameter`)
	password    = regexp.MustCompile(`password\s*=\s*('([^']|'')*'?|\S+)`)
	// handshake is about one connection, though it names none.
	handshake = regexp.MustCompile(`^TLS (handshake|accept|connect) error: `)
	// socket: "C-0x5581e0: shop/app@10.0.0.1:4711 " names one connection.
	socket = regexp.MustCompile(`^[CS]-0x[0-9a-f]+: \S+ `)
	number = regexp.MustCompile(`[0-9]+`)
	// wrongPassword is a login that the server refused for the password. Source:
	// PostgreSQL's auth.c (auth_failed).
	wrongPassword = regexp.MustCompile(`^(\S+ )?(S: )?(server )?login failed: FATAL:? password authentication failed for user `)
	// lost is a server connection that ended by itself, or was refused. Source:
	// PgBouncer's server.c (server_proto, handle_server_work, handle_server_startup).
	lost = regexp.MustCompile(`pooler error: server conn crashed\?|got packet 'E' from server when not linked|server login failed: |` +
		`login has been failing, cached error: (connect failed|password authentication failed|the database system is)`)
	// loginFailed is a login that failed, or a client that was turned away for one.
	loginFailed = regexp.MustCompile(`(S: |server )login failed: |login has been failing|error while executing exec_on_query: FATAL`)
	// noRoom is a login that the server refused because it has no room: admission
	// ended it, or the server did, with SQLSTATE 53300. PgBouncer passes on the
	// server's words alone, so servers that do not speak English are not understood.
	// Source: PostgreSQL's proc.c and postinit.c; PgBouncer's server.c.
	noRoom = regexp.MustCompile(`^(\S+ )?(S: )?(error while executing exec_on_query: FATAL: terminating connection due to administrator command|` +
		`(server )?login failed: FATAL:? (sorry, too many clients already|remaining connection slots are reserved|too many connections for|no more connections allowed))`)
)

var levels = map[string]slog.Level{
	"NOISE": slog.LevelDebug, "DEBUG": slog.LevelDebug, "LOG": slog.LevelInfo,
	"WARNING": slog.LevelWarn, "ERROR": slog.LevelError, "FATAL": slog.LevelError,
}

// hide makes the relay keep more passwords out of the log. It forgets none: a
// configuration that was replaced may still be spoken of.
func (r *relay) hide(secrets []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range secrets {
		for _, spelling := range []string{secret, strings.ReplaceAll(secret, "'", "''"), strings.ReplaceAll(secret, `"`, `""`)} {
			if len(spelling) >= 4 && !slices.Contains(r.secrets, spelling) {
				r.secrets = append(r.secrets, spelling)
			}
		}
	}
}

func (r *relay) redact(text string) string {
	text = quotedValue.ReplaceAllString(text, "invalid value for parameter")
	text = password.ReplaceAllString(text, "password=***")
	for _, secret := range r.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// line takes one line of PgBouncer's.
func (r *relay) line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	level, pid, message := slog.LevelInfo, "", r.redact(text)
	if m := logLine.FindStringSubmatch(message); m != nil {
		pid, level, message = m[1], levels[m[2]], m[3]
	}
	if level >= slog.LevelWarn && !socket.MatchString(message) && !handshake.MatchString(message) {
		r.complaints = append(r.complaints[max(0, len(r.complaints)-9):], message)
	}
	lines := linesPerWindow
	if noRoom.MatchString(message) {
		r.refused++
		lines = 1
	}
	if wrongPassword.MatchString(message) {
		r.wrong++
		lines = 1
	}
	if loginFailed.MatchString(message) {
		r.failed++
	}
	if lost.MatchString(message) || noRoom.MatchString(message) {
		r.lost++
		for _, later := range soon { // PgBouncer closes it after its words.
			time.AfterFunc(later, r.wake)
		}
	}
	if !r.allow(kind(message), lines, time.Now()) {
		return
	}
	r.log.Log(context.Background(), level, message, "component", "pgbouncer", "pid", pid)
}

// kind is what lines have in common that differ in connection and numbers.
func kind(message string) string {
	return number.ReplaceAllString(socket.ReplaceAllString(message, ""), "0")
}

func (r *relay) allow(kind string, lines int, now time.Time) bool {
	if now.Sub(r.window) >= logWindow {
		r.summarise()
		r.window, r.counts, r.leftOut = now, map[string]int{}, map[string]int{}
	}
	if _, known := r.counts[kind]; !known && len(r.counts) >= kindsPerWindow {
		kind = "other lines"
	}
	r.counts[kind]++
	if r.counts[kind] > lines {
		r.leftOut[kind]++
	}
	return r.counts[kind] <= lines
}

// refusals is how many logins the server had no room for.
func (r *relay) refusals() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// wrongPasswords is how many logins the server refused for the password.
func (r *relay) wrongPasswords() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// losses are the server connections that ended by themselves, or were refused.
func (r *relay) losses() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// failures are the signs that the last login has failed.
func (r *relay) failures() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// wake makes the supervisor look at once.
func (r *relay) wake() {
	select {
	case r.woken <- struct{}{}:
	default: // It is still to be taken.
	}
}

func (r *relay) summarise() {
	for kind, count := range r.leftOut {
		r.log.Info("more lines of this kind were left out", "component", "pgbouncer", "kind", kind, "count", count)
	}
}

// forget drops the complaints, so that later ones are about what happens next.
func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.complaints = nil
}

// refusal are PgBouncer's words on a RELOAD that it has refused. They come by its log,
// mostly just after the console's answer.
func (r *relay) refusal() string {
	for range 50 {
		if r.words() != "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond) // They come in several lines.
	return r.words()
}

// words are PgBouncer's complaints since forget.
func (r *relay) words() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	words := strings.Join(slices.Compact(slices.Clone(r.complaints)), "; ")
	return words[:min(len(words), 500)]
}
