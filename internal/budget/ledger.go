// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

// Entry is what one pooler pod was granted and may hold.
type Entry struct {
	// UID of the pod. A name can come back; a UID can not.
	UID string
	// Namespace, Pod and Pool are the names of the pod and of its ConnectionPool.
	Namespace, Pod, Pool string
	// Gen numbers the pod's newest grant.
	Gen int64
	// Granted is how many server connections that grant allows. 0 is parked.
	Granted int32
	// Held is the most the pod may hold. It rises with a grant and falls only by an
	// acknowledgement of this very Gen, by a drain's word, or with the entry.
	Held int32
	// Config is the revision of the configuration that the grant names.
	Config string
	// Peer is the pod's number among those that hand on each other's cancel requests,
	// from 1 on: the pod's for life, and nobody else's as long as the entry is there.
	Peer int32
}

// Ledger is the account of all pods on one server. A pod without an entry was
// never granted anything, so it holds nothing.
type Ledger struct {
	// Gen is the highest number ever given to a grant.
	Gen int64
	// Entries are sorted by namespace, pool, pod and UID.
	Entries []Entry
}

// Ack is a pod's authenticated answer: what PgBouncer itself reports.
type Ack struct {
	// Gen of the grant in force; 0 before the first.
	Gen int64
	// Config is the revision in force.
	Config string
	// Cap is the sum of PgBouncer's limits. While Draining it is what the pod may
	// still hold, and will not exceed again before a higher Gen. 0 says only that
	// PgBouncer does not run now.
	Cap int32
	// Current is its server connections, logins included.
	Current int32
	// Draining is true once the pod's container was told to end.
	Draining bool
}

// Told is the grant that stands in a pod's annotation.
type Told struct {
	Gen    int64
	Share  int32
	Config string
	// Held was the entry's when the grant was written: what the pod may hold by this
	// grant or any before it. Below Share counts as Share.
	Held int32
}

// Pod is one pooler pod as a pass saw it. Only UID, the names and Created have to
// be set; every other zero value is the usual case or the safe one.
type Pod struct {
	UID, Namespace, Name, Pool string
	// Created orders pods by age, in any unit: the younger has the higher number.
	Created int64
	// Template names what the pod was made from. Of two pods of the same age and of
	// different templates, one is to replace the other.
	Template string
	// Terminating is true once the pod has a deletionTimestamp. Its file is no longer
	// refreshed, so its grant is left alone.
	Terminating bool
	// Terminated is true when the pod is in a terminal phase and all its containers
	// have ended: it holds nothing.
	Terminated bool
	// Ready is the pod's condition.
	Ready bool
	// Pending is true while the pod's container has not started. It gets no first
	// grant yet: connections would be parked for a pod that may never run.
	Pending bool
	// Coming is true while a pending pod is about to start: a node makes its container
	// and nothing is known to be in its way. Nobody gives anything up for it yet, but
	// its part is not granted to others, who would have to let go of it in a moment.
	Coming bool
	// Overdue is the caller's clock. For a pod that runs: it has had a grant for longer
	// than patience lasts and is not ready, so others that wait go before it; set it
	// to false again, later and later, to give the pod another try. For a terminating
	// pod: its grace period is over and it is still there, so no rollout waits for it.
	Overdue bool
	// Address is the pod's IP address. A first grant waits while another pod that
	// still has an entry shows the same one.
	Address string
	// Peer is the number that stands in the pod's annotation, if it names this UID; 0
	// is none.
	Peer int32
	// Ack is the pod's answer; nil when there was none, which is not an acknowledgement.
	Ack *Ack
	// Told is the annotation's grant, if it names this UID. It matters where the ledger was lost: what a
	// pod was told and the ledger does not know is taken into the ledger.
	Told *Told
}

// Facts is all that one pass saw.
type Facts struct {
	// Budget is what pools may take together: Budget.Connections.
	Budget int32
	// Unattributed is connections seen at the server that pools' roles hold and no
	// entry accounts for. Nothing is raised into their room.
	Unattributed int32
	// Reachable is whether the server answered. While it does not, Budget is the last
	// known, nothing is raised, and nothing shrinks but for a limit that a person lowered.
	Reachable bool
	// Claims are the pools of this server. Entries of a pool without a claim, or with
	// 0 replicas, stay as they are until their pods end.
	Claims []Claim
	// Pods are the pooler pods of those pools, in any order.
	Pods []Pod
	// Absent are the UIDs that a live read proved to be gone.
	Absent map[string]bool
}

// Reason says what a pod without a grant waits for.
type Reason string

const (
	// InsufficientBudget means that the pool's share has no floor for this pod.
	InsufficientBudget Reason = "InsufficientBudget"
	// WaitingForRelease means that its connections are promised, and others still hold them.
	WaitingForRelease Reason = "WaitingForRelease"
	// ServerUnreachable means that nothing is raised until the server answers.
	ServerUnreachable Reason = "Unreachable"
)

// Waiting is a pod that could run and has no grant.
type Waiting struct {
	UID, Pod string
	Reason   Reason
}

// PoolAccount is what a pool's claim comes to.
type PoolAccount struct {
	Key PoolKey
	// Weight and Floor are the claim's, at least 1.
	Weight, Floor int32
	// Minimum is the claim's, at most its Maximum.
	Minimum int32
	// Entitled is what the pool gets once all pools have their pods and have settled,
	// before anything is lent.
	Entitled int32
	// Share is Entitled with what is lent to it, or less what it lends.
	Share int32
	// Granted is what its pods may open now, Held what they may still hold.
	Granted, Held int32
	// Due is what its pods are promised beyond what they may open now, and others
	// still hold. Releasing is what they hold beyond what they may open, and let go.
	Due, Releasing int32
	// Waiting are its pods without a grant, by name.
	Waiting []Waiting
}

// Account is the ledger in sums, for people to read.
type Account struct {
	// Budget is Facts.Budget, at least 0.
	Budget int32
	// Granted and Held are sums over all entries, those without a claim included.
	Granted, Held int32
	// OverBudget is true while Held is above Budget: then there are only shrinks.
	OverBudget bool
	// Pools has one account for each claim, sorted by key.
	Pools []PoolAccount
}
