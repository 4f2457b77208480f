// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConnectionPoolStatus is what the operator saw and did.
type ConnectionPoolStatus struct {
	// conditions say what holds. Ready sums them up.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// urls are the published URLs, without passwords.
	// +optional
	URLs PublishedURLs `json:"urls,omitzero"`

	// binding names the published Secret, as the Service Binding specification asks.
	// +optional
	Binding SecretBinding `json:"binding,omitzero"`

	// upstream is the server that was found behind the Secret.
	// +optional
	Upstream ResolvedUpstream `json:"upstream,omitzero"`

	// serverConnections is what the pool holds of the server's budget.
	// +optional
	ServerConnections GrantedConnections `json:"serverConnections,omitzero"`

	// replicas is how many poolers there are, ready or not.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Replicas *int32 `json:"replicas,omitempty"`

	// readyReplicas is how many poolers accept clients.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ReadyReplicas *int32 `json:"readyReplicas,omitempty"`

	// selector finds the poolers, for autoscalers.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Selector string `json:"selector,omitempty"`

	// credentials are those of clients that work now, the published ones first. They
	// are there in authentication mode Generated.
	// +optional
	// +listType=map
	// +listMapKey=username
	// +kubebuilder:validation:MaxItems=8
	Credentials []ClientCredential `json:"credentials,omitempty"`

	// lookup is what is missing for users to be looked up, in authentication mode Query.
	// +optional
	Lookup MissingLookup `json:"lookup,omitzero"`

	// tls is the certificate that clients see.
	// +optional
	TLS ServedCertificate `json:"tls,omitzero"`

	// edge is how workers reach the pool through the gateway, where spec.edge asks for it.
	// +optional
	Edge PublishedEdge `json:"edge,omitzero"`

	// configRevision is the configuration that the poolers are to run.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ConfigRevision string `json:"configRevision,omitempty"`
}

// PublishedURLs are the addresses that applications use. They hold no password:
// the Secret that status.binding names does.
//
// +kubebuilder:validation:MinProperties=1
type PublishedURLs struct {
	// pooled is the URL for applications.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Pooled string `json:"pooled,omitempty"`

	// external is the URL for applications outside the cluster, where
	// spec.service.externalHostname is set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	External string `json:"external,omitempty"`

	// edge is the URL for workers that reach the pool through the gateway, as the Neon
	// serverless driver reads it, where spec.edge.mode is Enabled.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Edge string `json:"edge,omitempty"`

	// accelerate is where Prisma Accelerate's clients reach the pool, where spec.edge.mode
	// is Enabled. It is without the API key that they need: ACCELERATE_URL of the published
	// Secret has it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Accelerate string `json:"accelerate,omitempty"`

	// direct is the URL of the server itself, for migrations.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Direct string `json:"direct,omitempty"`
}

// ClientCredential is a user that clients can log in as, without its password.
type ClientCredential struct {
	// username that clients log in as.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Username string `json:"username,omitempty"`

	// issuedAt is when it was made.
	// +required
	IssuedAt *metav1.Time `json:"issuedAt,omitempty"`

	// expiresAt is when it stops working: it was rotated out.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// MissingLookup is what an administrator installs for users to be looked up.
//
// +kubebuilder:validation:MinProperties=1
type MissingLookup struct {
	// databases of the server that lack the function.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Databases []string `json:"databases,omitempty"`

	// sql installs it: a superuser runs it in each of the databases.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	SQL string `json:"sql,omitempty"`
}

// ServedCertificate is the certificate that clients see.
//
// +kubebuilder:validation:MinProperties=1
type ServedCertificate struct {
	// issuer is who made it: Operator, Secret or CertManager.
	// +optional
	// +kubebuilder:validation:Enum=Operator;Secret;CertManager
	Issuer CertificateIssuer `json:"issuer,omitempty"`

	// dnsNames are the names it is good for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	DNSNames []string `json:"dnsNames,omitempty"`

	// notAfter is when it expires.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// authority is the PEM text of the certificate authority that it comes from, as the
	// published Secret holds it under ca.crt. It is absent where nobody named one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	Authority string `json:"authority,omitempty"`
}

// CertificateIssuer is who made a certificate.
type CertificateIssuer string

const (
	// IssuerOperator is the operator's own certificate authority.
	IssuerOperator CertificateIssuer = "Operator"
	// IssuerSecret is whoever wrote the Secret of spec.tls.secretRef.
	IssuerSecret CertificateIssuer = "Secret"
	// IssuerCertManager is cert-manager, as spec.tls.issuerRef asks.
	IssuerCertManager CertificateIssuer = "CertManager"
)

// SecretBinding is the Service Binding specification's reference to a Secret.
type SecretBinding struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// ResolvedUpstream says which server the pool's Secret led to.
type ResolvedUpstream struct {
	// name of the Upstream.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// endpoint is the server's host and port as the Secret spells them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Endpoint string `json:"endpoint,omitempty"`

	// role that the poolers log in as at the server.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Role string `json:"role,omitempty"`

	// database that the Secret names.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Database string `json:"database,omitempty"`

	// roleConnectionLimit is the CONNECTION LIMIT of the role that the Secret names,
	// where it has one. Source: pg_roles.rolconnlimit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RoleConnectionLimit *int32 `json:"roleConnectionLimit,omitempty"`

	// databaseConnectionLimit is the CONNECTION LIMIT of the database that the Secret
	// names, where it has one. Source: pg_database.datconnlimit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DatabaseConnectionLimit *int32 `json:"databaseConnectionLimit,omitempty"`
}

// GrantedConnections is a pool's account.
type GrantedConnections struct {
	// granted is how many server connections the poolers may open now, all together.
	// +required
	// +kubebuilder:validation:Minimum=0
	Granted *int32 `json:"granted,omitempty"`

	// share is how many they may open once the pools of the server have settled.
	// +required
	// +kubebuilder:validation:Minimum=0
	Share *int32 `json:"share,omitempty"`

	// entitled is the share without loans: above it the pool has borrowed what others
	// leave idle, below it the pool lends.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Entitled *int32 `json:"entitled,omitempty"`
}
