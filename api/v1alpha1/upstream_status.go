// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// UpstreamStatus is the account of a server.
type UpstreamStatus struct {
	// conditions say what holds.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// endpoints are the addresses under which the server was found.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=64
	Endpoints []ServerEndpoint `json:"endpoints,omitempty"`

	// server is the PostgreSQL process that has the connections.
	// +optional
	Server ServerIdentity `json:"server,omitzero"`

	// capacity is the arithmetic that leads to the budget.
	// +optional
	Capacity Capacity `json:"capacity,omitzero"`

	// granted is how many connections pools may open now, all together.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Granted *int32 `json:"granted,omitempty"`

	// use is what the server itself shows of its connections.
	// +optional
	Use ServerUse `json:"use,omitzero"`

	// account tells in words how the budget comes about, what each pool gets and why,
	// and who waits for whom.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2048
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Account []string `json:"account,omitempty"`

	// poolCount is how many pools there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PoolCount *int32 `json:"poolCount,omitempty"`

	// pools are the claims on this server and what each comes to.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1024
	Pools []PoolAccount `json:"pools,omitempty"`

	// ledgerGeneration numbers the grants. It only grows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	LedgerGeneration *int64 `json:"ledgerGeneration,omitempty"`

	// ledger holds an entry for every pooler pod that may hold connections. The
	// operator writes it before it tells the pod.
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MaxItems=4096
	Ledger []LedgerEntry `json:"ledger,omitempty"`
}

// ServerUse is what the server itself shows of its connections. While nothing
// else changes it is written at most every half minute.
//
// +kubebuilder:validation:MinProperties=1
type ServerUse struct {
	// connections is how many client connections the server has, replication's not
	// counted. Source: pg_stat_activity.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Connections *int32 `json:"connections,omitempty"`

	// others is how many of them are not the poolers': migrations, people, exporters,
	// applications that go past the pools.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Others *int32 `json:"others,omitempty"`

	// deducted is how many of the others come off the budget, as far as several looks
	// bear it out: what is left to others is kept free beside those who are there
	// already. What spec.maxServerConnections keeps from pools is used first.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Deducted *int32 `json:"deducted,omitempty"`
}

// ServerEndpoint is one address of a server.
type ServerEndpoint struct {
	// address is host and port, as the Secret of a pool spells them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Address string `json:"address,omitempty"`
}

// ServerIdentity tells one PostgreSQL server from another.
//
// +kubebuilder:validation:MinProperties=1
type ServerIdentity struct {
	// systemIdentifier names the data. A replica and a branch share it with the
	// server they came from. Source: pg_control_system().
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	SystemIdentifier string `json:"systemIdentifier,omitempty"`

	// startTime names the process. Source: pg_postmaster_start_time().
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	StartTime string `json:"startTime,omitempty"`

	// address is the server's own word on where it listens. Source: inet_server_addr()
	// and inet_server_port().
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address,omitempty"`

	// version of PostgreSQL. Source: setting server_version.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`
}

// CapacitySource says where the numbers come from.
//
// +kubebuilder:validation:Enum=Observed;Declared
type CapacitySource string

const (
	// CapacityObserved numbers were read from the server.
	CapacityObserved CapacitySource = "Observed"
	// CapacityDeclared numbers were read from a pool's spec.upstream.maxConnections.
	CapacityDeclared CapacitySource = "Declared"
)

// Capacity is the arithmetic of a server's budget:
// budget = min(maxConnections - withheld, maxServerConnections).
type Capacity struct {
	// source is Observed where the server was asked, Declared where a pool's spec
	// stands in.
	// +required
	Source CapacitySource `json:"source,omitempty"`

	// maxConnections is the server's. Source: setting max_connections.
	// +required
	// +kubebuilder:validation:Minimum=0
	MaxConnections *int32 `json:"maxConnections,omitempty"`

	// superuserReserved is the server's. Source: setting superuser_reserved_connections.
	// +required
	// +kubebuilder:validation:Minimum=0
	SuperuserReserved *int32 `json:"superuserReserved,omitempty"`

	// reserved is the server's, from PostgreSQL 16 on. Source: setting reserved_connections.
	// +required
	// +kubebuilder:validation:Minimum=0
	Reserved *int32 `json:"reserved,omitempty"`

	// direct is how many connections are left to others than pools.
	// +required
	// +kubebuilder:validation:Minimum=0
	Direct *int32 `json:"direct,omitempty"`

	// withheld is superuserReserved + reserved + direct.
	// +required
	// +kubebuilder:validation:Minimum=0
	Withheld *int32 `json:"withheld,omitempty"`

	// budget is how many connections all pools together may take.
	// +required
	// +kubebuilder:validation:Minimum=0
	Budget *int32 `json:"budget,omitempty"`
}

// PoolAccount is one pool's claim on a server and what it comes to.
type PoolAccount struct {
	// namespace of the ConnectionPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name of the ConnectionPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// weight of the pool.
	// +required
	// +kubebuilder:validation:Minimum=1
	Weight int32 `json:"weight,omitempty"`

	// floor is the least that one of its poolers needs: one for each database.
	// +required
	// +kubebuilder:validation:Minimum=1
	Floor int32 `json:"floor,omitempty"`

	// minimum is how many connections it is kept whatever others want.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Minimum int32 `json:"minimum,omitempty"`

	// entitled is its part of the budget before anything is lent.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Entitled *int32 `json:"entitled,omitempty"`

	// share is how many connections it gets once all pools have settled: entitled, and
	// what is lent to it or by it.
	// +required
	// +kubebuilder:validation:Minimum=0
	Share *int32 `json:"share,omitempty"`

	// granted is how many connections its poolers may open now.
	// +required
	// +kubebuilder:validation:Minimum=0
	Granted *int32 `json:"granted,omitempty"`

	// waiting is how many of its pods have no connections yet.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Waiting *int32 `json:"waiting,omitempty"`

	// held is how many connections its poolers may still hold.
	// +required
	// +kubebuilder:validation:Minimum=0
	Held *int32 `json:"held,omitempty"`

	// oldest is the longest transaction that its poolers wait for before they have let
	// go of what others are promised.
	// +optional
	Oldest OldestTransaction `json:"oldest,omitzero"`

	// roleOID is the role that its poolers log in as, as the server numbers it. With a
	// maxServerConnections, new server connections count those of the pools' roles.
	// Source: pg_roles.oid.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	RoleOID int64 `json:"roleOID,omitempty"`
}

// OldestTransaction names a transaction that holds up a hand-over.
//
// +kubebuilder:validation:MinProperties=1
type OldestTransaction struct {
	// pod whose server connection it is on.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pod string `json:"pod,omitempty"`

	// pid of its backend, as pg_stat_activity shows it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	PID int32 `json:"pid,omitempty"`

	// since is when its last statement was sent before the wait for it was noted.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}

// LedgerEntry is what one pooler pod was granted and may hold.
type LedgerEntry struct {
	// uid of the pod. A name can come back; a uid can not.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`

	// namespace of the pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// pod is the pod's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pod string `json:"pod,omitempty"`

	// pool is the name of its ConnectionPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Pool string `json:"pool,omitempty"`

	// peer is the pod's number among those that hand on each other's cancel requests
	// (PgBouncer's peer_id). It is the pod's for life.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16383
	Peer int32 `json:"peer,omitempty"`

	// gen is the number of the pod's newest grant.
	// +required
	// +kubebuilder:validation:Minimum=0
	Gen *int64 `json:"gen,omitempty"`

	// granted is how many connections that grant allows.
	// +required
	// +kubebuilder:validation:Minimum=0
	Granted *int32 `json:"granted,omitempty"`

	// held is the most it may hold: it rises with a grant and falls only when the pod
	// acknowledges that very grant, or is gone.
	// +required
	// +kubebuilder:validation:Minimum=0
	Held *int32 `json:"held,omitempty"`

	// config is the configuration that the grant names.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Config string `json:"config,omitempty"`
}
