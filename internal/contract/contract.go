// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package contract is what the manager and the pooler say to each other: the
// configuration document, the grant and the status. Manager and pooler may be one
// release apart, so fields are only ever added and unknown ones are ignored. It
// holds values and their encoding, nothing that acts.
package contract

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/poolfleet/poolfleet/internal/pgbouncer"
)

// Ports of a pooler pod.
const (
	// ClientPort is where clients connect.
	ClientPort = 5432
	// StatusPort serves health and status over HTTP.
	StatusPort = 9127
	// MetricsPort serves MetricsPath over HTTP, and nothing else, so that who may read
	// figures is let in there alone.
	MetricsPort = 9128
)

// MetricsPath is where a pooler's figures are read, in Prometheus' format.
const MetricsPath = "/metrics"

// Paths in a pooler's container. The manager mounts them, the pooler reads them.
const (
	// ConfigDir is where the pool's configuration Secret is mounted.
	ConfigDir = "/etc/poolfleet/config"
	// ConfigKey is the Secret's key, and so the file, that holds the Document.
	ConfigKey = "config.json"
	// PodDir is where the downward API volume is mounted.
	PodDir = "/etc/poolfleet/pod"
	// GrantFile in PodDir holds the pod's grant annotation; empty without one.
	GrantFile = "grant"
	// PeersFile in PodDir holds the pod's peers annotation; empty without one.
	PeersFile = "peers"
	// UIDFile in PodDir holds the pod's metadata.uid.
	UIDFile = "uid"
	// RunDir is a memory-backed emptyDir: PgBouncer's files, its socket, and what
	// must outlive a restart of the container.
	RunDir = "/run/poolfleet"
)

// Document is the configuration of every pooler of a pool.
type Document struct {
	// Version of this document's shape. It is raised only when an older pooler must
	// refuse the document.
	Version int `json:"version"`
	// StatusKey authenticates /status both ways; 32 random bytes.
	StatusKey []byte `json:"statusKey"`
	// PgBouncer is what PgBouncer runs.
	PgBouncer pgbouncer.Config `json:"pgbouncer"`
	// DrainTimeoutSeconds is how long clients have to leave a pod that is to end; nil
	// is the pooler's own default. The pod's grace period is GraceMargin longer.
	DrainTimeoutSeconds *int32 `json:"drainTimeoutSeconds,omitempty"`
}

// DocumentVersion is the version that this release writes and the newest it reads.
const DocumentVersion = 1

// Encode returns the document as it travels, and its revision: a digest that
// names exactly these bytes. The revision stands in annotations and statuses; the
// random StatusKey in the bytes keeps it from betraying a guessable password.
func (d Document) Encode() (data []byte, revision string, err error) {
	data, err = json.Marshal(d)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the configuration: %w", err)
	}
	return data, Revision(data), nil
}

// Revision names the bytes of an encoded Document.
func Revision(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// DecodeDocument reads an encoded Document. It refuses a newer version.
func DecodeDocument(data []byte) (Document, error) {
	var d Document
	if err := json.Unmarshal(data, &d); err != nil {
		// The decoder's error can quote what it read, which may be a password.
		return Document{}, fmt.Errorf("decoding the configuration: it is not the JSON expected")
	}
	if d.Version > DocumentVersion {
		return Document{}, fmt.Errorf("decoding the configuration: its version is %d, this pooler knows %d: upgrade the pooler image", d.Version, DocumentVersion)
	}
	return d, nil
}

const (
	// SpreadTime is how long the news takes to spread that a pod takes no more clients.
	SpreadTime = 5 * time.Second
	// ProbePeriod is how often a pod is asked whether it takes clients.
	ProbePeriod = 2 * time.Second
	// ProbeFailures is how often in a row it says no before it counts as one that takes none.
	ProbeFailures = 3
	// UnreadyTime is how long it takes for a pod that goes on running to count as one that
	// takes no more clients. A pod that is deleted counts as such at once.
	UnreadyTime = ProbeFailures * ProbePeriod
	// GraceMargin is how much longer than its drain, and SpreadTime, a pod may take to end.
	GraceMargin = 10 * time.Second
)

// Peers says which peer a pod is, and who the pool's others are: a cancel request may
// reach any of them. It stands in the pod's annotation v1alpha1.PeersAnnotation. It
// bounds nothing, so an old one does no harm.
type Peers struct {
	// UID of the pod it is meant for.
	UID string `json:"uid"`
	// ID of this pod (peer_id), 1 to 16383.
	ID int32 `json:"id"`
	// Others by their ids; the values are their addresses.
	Others map[int32]string `json:"others,omitempty"`
}

// Encode returns the peers as they stand in the annotation.
func (p Peers) Encode() string {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // Strings and integers always encode.
	}
	return string(data)
}

// DecodePeers reads an annotation. An empty one is the zero Peers: there are none.
func DecodePeers(annotation string) (Peers, error) {
	if annotation == "" {
		return Peers{}, nil
	}
	var p Peers
	if err := json.Unmarshal([]byte(annotation), &p); err != nil {
		return Peers{}, fmt.Errorf("decoding the peers: %w", err)
	}
	return p, nil
}

// Grant is how many server connections one pod may open. It stands in the pod's
// annotation v1alpha1.GrantAnnotation.
type Grant struct {
	// UID of the pod it is meant for. A copied pod carries another's and obeys none.
	UID string `json:"uid"`
	// Gen only grows; a pod obeys none lower than it has seen.
	Gen int64 `json:"gen"`
	// Share is how many server connections, over all databases. 0 is parked:
	// PgBouncer does not run.
	Share int32 `json:"share"`
	// Config is the revision of the Document that goes with this grant.
	Config string `json:"config"`
}

// Encode returns the grant as it stands in the annotation.
func (g Grant) Encode() string {
	data, err := json.Marshal(g)
	if err != nil {
		panic(err) // Strings and integers always encode.
	}
	return string(data)
}

// DecodeGrant reads an annotation. An empty one is the zero Grant, which grants nothing.
func DecodeGrant(annotation string) (Grant, error) {
	if annotation == "" {
		return Grant{}, nil
	}
	var g Grant
	if err := json.Unmarshal([]byte(annotation), &g); err != nil {
		return Grant{}, fmt.Errorf("decoding the grant: %w", err)
	}
	if g.Share < 0 || g.Gen < 0 {
		return Grant{}, fmt.Errorf("decoding the grant: share %d and generation %d must not be negative", g.Share, g.Gen)
	}
	return g, nil
}

// Annotation is a Grant as it stands in v1alpha1.GrantAnnotation: with what only the
// manager reads. Poolers ignore it, so that it may change under one Gen.
type Annotation struct {
	Grant

	// Held is the most that the pod may hold, whichever of its grants up to this one
	// has reached it, as the ledger had it when it was written. It is there for a ledger
	// that is lost: without it only the pod could say that it still has more than Share.
	Held int32 `json:"held"`
}

// Encode returns the annotation.
func (a Annotation) Encode() string {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // Strings and integers always encode.
	}
	return string(data)
}

// DecodeAnnotation reads an annotation. What poolers would obey counts, whatever
// stands beside it, and one may hold what it is granted at least.
func DecodeAnnotation(annotation string) (Annotation, error) {
	grant, err := DecodeGrant(annotation)
	if err != nil {
		return Annotation{}, err
	}
	var beside struct {
		Held int32 `json:"held"`
	}
	_ = json.Unmarshal([]byte(annotation), &beside) // The grant could be read: poolers obey it.
	return Annotation{Grant: grant, Held: max(beside.Held, grant.Share)}, nil
}

// DemandWindow is the time that Status.Peak looks back.
const DemandWindow = 5 * time.Second

// LettingGo is what a pod waits for before it has let go of what it must.
type LettingGo struct {
	// Connections is how many are above the limits.
	Connections int32 `json:"connections"`
	// PID is the backend whose transaction (in session mode: session) is the oldest
	// one waited for; 0 when it is not known (SHOW SERVERS.remote_pid).
	PID int32 `json:"pid,omitempty"`
	// Since is when that transaction was last given to the server, in whole seconds
	// of Unix time (SHOW SERVERS.request_time).
	Since int64 `json:"since,omitempty"`
}

// Status is a pooler's account of itself: what PgBouncer reports, not what it
// was told.
type Status struct {
	UID string `json:"uid"`
	// Gen of the grant in force; 0 before the first.
	Gen int64 `json:"gen"`
	// Config is the revision in force.
	Config string `json:"config"`
	// Cap is the sum of the limits PgBouncer runs with (SHOW DATABASES.max_connections);
	// 0 while PgBouncer is not running.
	Cap int32 `json:"cap"`
	// Current is the server connections it has, logins included
	// (SHOW DATABASES.current_connections).
	Current int32 `json:"current"`
	// Active is the server connections in use by clients (SHOW POOLS.sv_active).
	Active int32 `json:"active"`
	// Waiting is the clients waiting for one (SHOW POOLS.cl_waiting).
	Waiting int32 `json:"waiting"`
	// Clients is the client connections.
	Clients int32 `json:"clients"`
	// Peak is the most server connections in use by clients at once in the last
	// DemandWindow, as sampled (SHOW POOLS.sv_active).
	Peak int32 `json:"peak"`
	// Starved is how many clients have been waiting, now and in every sample of the
	// last second, for a database that has all the server connections its limit
	// allows. Clients that wait for a login, or for a server that is away, are not
	// counted: more connections would not serve them.
	Starved int32 `json:"starved"`
	// Refused is how many logins at the server were refused since the container
	// started, because the server had no room (its own limits, or admission).
	Refused int64 `json:"refused"`
	// LettingGo is set while limits are lowered and connections are above them.
	LettingGo *LettingGo `json:"lettingGo,omitempty"`
	// Paused is true while every database is paused, as the configuration asks.
	Paused bool `json:"paused,omitempty"`
	// Draining is true once the pod was told to end.
	Draining bool `json:"draining,omitempty"`
	// Problem says in words why the newest configuration is not in force; no secret in it.
	Problem string `json:"problem,omitempty"`
}
