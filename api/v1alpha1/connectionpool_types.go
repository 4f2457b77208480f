// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConnectionPool gives applications a pooled URL to one PostgreSQL server. Its
// poolers never open more server connections than that server can spare, however
// many pools and pods share it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=cpool,categories=poolfleet
// +kubebuilder:metadata:labels="servicebinding.io/provisioned-service=true"
// +kubebuilder:metadata:annotations={"argocd.argoproj.io/sync-options=Prune=false","kustomize.toolkit.fluxcd.io/prune=disabled"}
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Granted",type=integer,JSONPath=`.status.serverConnections.granted`,description="Server connections the poolers may open now"
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.readyReplicas`,description="Poolers that are ready"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Upstream",type=string,JSONPath=`.status.upstream.name`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must start with a letter and hold only small letters, digits and -: the Service is named after it"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.secret) || !has(self.spec.secret.name) || self.spec.secret.name != self.metadata.name + '-pooler'",message="spec.secret.name can not be <name>-pooler: the poolers' own Secret has that name"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.secret) || !has(self.spec.secret.name) || self.spec.secret.name != self.spec.upstream.secretRef.name",message="spec.secret.name can not be the Secret of spec.upstream.secretRef: choose another name for the published one"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name must be at most 52 characters, so that the names made from it (such as <name>-pool-<hash>-<pod>) fit"
type ConnectionPool struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what you want.
	// +required
	Spec ConnectionPoolSpec `json:"spec,omitzero"`

	// status is what is there.
	// +optional
	Status ConnectionPoolStatus `json:"status,omitzero"`
}

// ConnectionPoolList is a list of ConnectionPools.
//
// +kubebuilder:object:root=true
type ConnectionPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ConnectionPool `json:"items"`
}

// PoolMode says for how long a client keeps a server connection.
// Source: PgBouncer setting pool_mode.
//
// +kubebuilder:validation:Enum=Session;Transaction;Statement
type PoolMode string

const (
	// PoolModeSession gives a client its server connection until it disconnects.
	PoolModeSession PoolMode = "Session"
	// PoolModeTransaction gives a client a server connection for each transaction.
	PoolModeTransaction PoolMode = "Transaction"
	// PoolModeStatement gives a client a server connection for each statement.
	PoolModeStatement PoolMode = "Statement"
)

// ConnectionPoolSpec is what a team asks for.
//
// +kubebuilder:validation:XValidation:rule="!has(self.edge) || !has(self.edge.mode) || self.edge.mode != 'Enabled' || !has(self.tls) || !has(self.tls.mode) || !self.tls.mode.startsWith('verify-')",message="the gateway has no certificate to show to the poolers: with edge.mode Enabled, set tls.mode to require or leave it out"
type ConnectionPoolSpec struct {
	// upstream names the PostgreSQL server behind the pool.
	// +required
	Upstream UpstreamSource `json:"upstream,omitzero"`

	// databases are the databases that clients can connect to. Empty means the one
	// that the Secret names. Each pooler needs at least one server connection for
	// each database.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Databases []PooledDatabase `json:"databases,omitempty"`

	// mode is how long a client keeps a server connection: Session, Transaction or
	// Statement.
	// +optional
	// +kubebuilder:default=Transaction
	Mode PoolMode `json:"mode,omitempty"`

	// replicas is how many poolers run. Fewer run when the server has too few
	// connections to give each pooler one for each database; the status says so.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	Replicas *int32 `json:"replicas,omitempty"`

	// serverConnections is this pool's claim on the server's connections.
	// +optional
	ServerConnections ServerConnections `json:"serverConnections,omitzero"`

	// clients limits the connections that applications open to the poolers.
	// +optional
	Clients Clients `json:"clients,omitzero"`

	// authentication says which users clients log in as.
	// +optional
	Authentication Authentication `json:"authentication,omitzero"`

	// tls is how clients reach the poolers.
	// +optional
	TLS ClientTLS `json:"tls,omitzero"`

	// service shapes the Service that applications connect to.
	// +optional
	Service PoolService `json:"service,omitzero"`

	// edge lets workers reach the pool by HTTP and WebSocket, through the gateway that
	// the chart installs (edge.enabled). The published Secret then has EDGE_URL,
	// ACCELERATE_URL, and texts for a Worker's project: wrangler.toml, .dev.vars, .env,
	// schema.prisma and prisma.config.ts.
	// +optional
	Edge PoolEdge `json:"edge,omitzero"`

	// secret shapes the Secret that holds the pooled and the direct URL.
	// +optional
	Secret PublishedSecret `json:"secret,omitzero"`

	// parameters are further PgBouncer settings, from a list of those that can not
	// break the connection budget.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Parameters []Parameter `json:"parameters,omitempty"`

	// image is the pooler image, where it is not the operator's default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// pod changes how the pooler pods are placed and labelled.
	// +optional
	Pod PodOverrides `json:"pod,omitzero"`

	// rollout says how poolers are replaced.
	// +optional
	Rollout Rollout `json:"rollout,omitzero"`

	// state is Paused to hold every client at its next transaction, for instance
	// while the server is restarted, until it is Running again.
	// +optional
	// +kubebuilder:default=Running
	State PoolState `json:"state,omitempty"`

	// podDisruptionBudget says how many poolers may be away at once.
	// +optional
	PodDisruptionBudget PoolDisruptionBudget `json:"podDisruptionBudget,omitzero"`

	// networkPolicy restricts who reaches the poolers and whom they reach.
	// +optional
	NetworkPolicy PoolNetworkPolicy `json:"networkPolicy,omitzero"`
}

// ProbePolicy says when the operator looks at the server.
//
// +kubebuilder:validation:Enum=Always;WhenInUse
type ProbePolicy string

const (
	// ProbeAlways looks at the server on every interval.
	ProbeAlways ProbePolicy = "Always"
	// ProbeWhenInUse looks only while a pooler holds a server connection, so that a
	// server that sleeps when idle is not kept awake.
	ProbeWhenInUse ProbePolicy = "WhenInUse"
)

// TargetSessionAttributes says which kind of server is meant.
//
// +kubebuilder:validation:Enum=read-write;read-only;any
type TargetSessionAttributes string

const (
	// TargetReadWrite is a primary.
	TargetReadWrite TargetSessionAttributes = "read-write"
	// TargetReadOnly is a standby.
	TargetReadOnly TargetSessionAttributes = "read-only"
	// TargetAny is a primary or a standby.
	TargetAny TargetSessionAttributes = "any"
)

// PoolState says whether clients are served.
//
// +kubebuilder:validation:Enum=Running;Paused
type PoolState string

const (
	// PoolRunning serves clients.
	PoolRunning PoolState = "Running"
	// PoolPaused lets transactions end and holds clients until the pool runs again.
	PoolPaused PoolState = "Paused"
)

// Rollout says how poolers are replaced.
//
// +kubebuilder:validation:MinProperties=1
type Rollout struct {
	// drainTimeoutSeconds is how long the clients of a pooler that is to end have to
	// finish their transactions and leave. The default is 60. 0 ends them as soon as
	// new clients go elsewhere. A change of it rolls the poolers: it is their grace period.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	DrainTimeoutSeconds *int32 `json:"drainTimeoutSeconds,omitempty"`
}

// UpstreamSource names the PostgreSQL server and says how to look at it.
type UpstreamSource struct {
	// secretRef names the Secret, in the pool's namespace, that holds the server's
	// URL or its parts.
	// +required
	SecretRef UpstreamSecretReference `json:"secretRef,omitzero"`

	// tls is how the poolers and the operator reach the server.
	// +optional
	TLS UpstreamTLS `json:"tls,omitzero"`

	// targetSessionAttributes says which server is meant: read-write, the default, is
	// a primary, read-only a standby, any either. A server of another kind is reported;
	// poolers that run go on. Source: libpq's parameter target_session_attrs.
	// +optional
	// +kubebuilder:default=read-write
	TargetSessionAttributes TargetSessionAttributes `json:"targetSessionAttributes,omitempty"`

	// probe says when the operator asks the server for its limits. Choose WhenInUse
	// for a server that sleeps when idle.
	// +optional
	// +kubebuilder:default=Always
	Probe ProbePolicy `json:"probe,omitempty"`

	// probeIntervalSeconds is how often the server is asked for its limits, give or
	// take a tenth. The default is 60.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=86400
	ProbeIntervalSeconds int32 `json:"probeIntervalSeconds,omitempty"`

	// maxConnections stands in for the server's max_connections less what it
	// reserves, where the server can not be asked, for instance behind another
	// pooler. The budget then rests on this number alone.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=262143
	MaxConnections int32 `json:"maxConnections,omitempty"`
}

// UpstreamSecretReference names a Secret in the pool's own namespace.
type UpstreamSecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key in the Secret that holds the URL. Without it the URL is looked for under
	// DATABASE_URL, uri, url and DIRECT_URL, and then put together from host, port,
	// user or username, password, and dbname or database. A URL that names a pooler
	// gives way to DIRECT_URL.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// PooledDatabase is one database that clients can connect to.
type PooledDatabase struct {
	// name that clients connect to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')",message="name must start with a letter, a digit or _, and hold only these and . and -"
	// +kubebuilder:validation:XValidation:rule="self != 'pgbouncer'",message="name can not be pgbouncer: PgBouncer keeps that name for its console; choose another and set database to the real one"
	Name string `json:"name,omitempty"`

	// database is its name at the server, where that differs from name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Database string `json:"database,omitempty"`
}

// ServerConnections is a pool's claim on its server's connections, over all its poolers.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",message="serverConnections.minimum must not be above serverConnections.maximum: lower the one or raise the other"
type ServerConnections struct {
	// weight is this pool's part of the budget beside the weights of the server's
	// other pools. The default is 100. What a pool leaves idle is lent to pools whose
	// clients wait, and comes back when its own clients need it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Weight int32 `json:"weight,omitempty"`

	// minimum is how many server connections the pool is kept, over all its poolers,
	// however much others want. It is not lent. A new pool starts when its minimum fits
	// beside those of the pools that run; until then it waits, and no pool that runs
	// is cut for it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=262143
	Minimum int32 `json:"minimum,omitempty"`

	// maximum is how many server connections the pool takes at most, over all its
	// poolers. What it leaves goes to the server's other pools.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=262143
	Maximum int32 `json:"maximum,omitempty"`
}

// Clients limits what applications open.
//
// +kubebuilder:validation:MinProperties=1
type Clients struct {
	// maxConnections is how many client connections each pooler accepts. The default
	// is 5000. Source: PgBouncer setting max_client_conn.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxConnections int32 `json:"maxConnections,omitempty"`

	// idleTimeoutSeconds closes client connections that were idle for so long. 0,
	// the default, never does; a socket whose peer is gone is noticed within a minute all
	// the same. Isolates of Workers leave theirs behind: 60 closes those sooner, at
	// drivers that connect for each request. With Cloudflare Hyperdrive leave it at 0 or
	// above 600, for which time Hyperdrive keeps idle connections. Source: PgBouncer
	// setting client_idle_timeout.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	IdleTimeoutSeconds *int32 `json:"idleTimeoutSeconds,omitempty"`
}

// Parameter is one PgBouncer setting.
type Parameter struct {
	// name of the setting, as in PgBouncer's documentation.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// value of the setting.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
}
