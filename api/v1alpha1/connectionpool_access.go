// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// AuthenticationMode says whose users clients log in as.
//
// +kubebuilder:validation:Enum=Generated;Upstream;Query
type AuthenticationMode string

const (
	// AuthenticationGenerated is a user made for the pool, worth nothing at the server.
	AuthenticationGenerated AuthenticationMode = "Generated"
	// AuthenticationUpstream is the server's own user and password, as the Secret has them.
	AuthenticationUpstream AuthenticationMode = "Upstream"
	// AuthenticationQuery is every role of the server that has a password: each client
	// is that role at the server, too.
	AuthenticationQuery AuthenticationMode = "Query"
)

// Authentication says which users clients log in as. Passwords are checked by
// SCRAM-SHA-256 in every mode.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || !has(self.mode) || self.mode == 'Generated'",message="rotation needs mode: Generated; in the other modes passwords are the server's"
// +kubebuilder:validation:XValidation:rule="!has(self.query) || (has(self.mode) && self.mode == 'Query')",message="query needs mode: Query"
type Authentication struct {
	// mode is Generated, Upstream or Query. The default is Generated: credentials made
	// for the pool, worth nothing at the server. Upstream takes the user and the
	// password of spec.upstream.secretRef. Query takes every role of the server.
	// +optional
	Mode AuthenticationMode `json:"mode,omitempty"`

	// rotation says when generated credentials are replaced. The annotation
	// poolfleet.dev/rotate on the pool does so at once, with each new value.
	// +optional
	Rotation CredentialRotation `json:"rotation,omitzero"`

	// query says how users are looked up in mode Query.
	// +optional
	Query UserLookup `json:"query,omitzero"`
}

// CredentialRotation says when generated credentials are replaced.
//
// +kubebuilder:validation:MinProperties=1
type CredentialRotation struct {
	// maxAgeDays replaces credentials of that age. 0, the default, never does.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3650
	MaxAgeDays *int32 `json:"maxAgeDays,omitempty"`

	// overlapSeconds is how long replaced credentials still work, for applications
	// that have yet to read the new ones. The default is 86400, a day.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=7776000
	OverlapSeconds *int32 `json:"overlapSeconds,omitempty"`
}

// InstallPolicy says who puts an object into the database.
//
// +kubebuilder:validation:Enum=Never;IfMissing
type InstallPolicy string

const (
	// InstallNever leaves it to the database's administrator.
	InstallNever InstallPolicy = "Never"
	// InstallIfMissing lets the operator install it as the user of the upstream Secret,
	// which must be allowed to.
	InstallIfMissing InstallPolicy = "IfMissing"
)

// UserLookup says how PgBouncer finds the server's roles and their password hashes.
// Source: PgBouncer settings auth_user, auth_query.
//
// +kubebuilder:validation:MinProperties=1
type UserLookup struct {
	// secretRef names a Secret in the pool's namespace with the user and the password,
	// under user or username, and password, of the role that may call the function and
	// nothing else. Without it the user of spec.upstream.secretRef calls it.
	// +optional
	SecretRef LocalSecretReference `json:"secretRef,omitzero"`

	// install is IfMissing to let the operator install the function in every database
	// of the pool. By default an administrator does, with the SQL that the status shows.
	// +optional
	Install InstallPolicy `json:"install,omitempty"`
}

// LocalSecretReference names a Secret in the pool's own namespace.
type LocalSecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// SecretKeyReference names a key of a Secret in the pool's own namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key in the Secret. The default is ca.crt.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// ClientTLSMode is PgBouncer's client_tls_sslmode.
//
// +kubebuilder:validation:Enum=disable;allow;prefer;require;verify-ca;verify-full
type ClientTLSMode string

// Modes of TLS to clients.
const (
	ClientTLSDisable    ClientTLSMode = "disable"
	ClientTLSAllow      ClientTLSMode = "allow"
	ClientTLSPrefer     ClientTLSMode = "prefer"
	ClientTLSRequire    ClientTLSMode = "require"
	ClientTLSVerifyCA   ClientTLSMode = "verify-ca"
	ClientTLSVerifyFull ClientTLSMode = "verify-full"
)

// ClientTLS is how clients reach the poolers.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !has(self.issuerRef)",message="secretRef and issuerRef exclude each other: both say where the certificate comes from"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || !self.mode.startsWith('verify-') || has(self.clientCASecretRef)",message="mode verify-ca and verify-full check the certificates of clients: name their CA in clientCASecretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.clientCASecretRef) || (has(self.mode) && self.mode.startsWith('verify-'))",message="clientCASecretRef needs mode: verify-ca or verify-full"
type ClientTLS struct {
	// mode is PgBouncer's client_tls_sslmode. The default is prefer: clients that ask
	// for TLS get it. With verify-ca and verify-full clients must show a certificate.
	// +optional
	Mode ClientTLSMode `json:"mode,omitempty"`

	// secretRef names a Secret of type kubernetes.io/tls that holds the certificate.
	// Without it and without issuerRef the operator's own authority makes one.
	// +optional
	SecretRef LocalSecretReference `json:"secretRef,omitzero"`

	// issuerRef names an issuer of cert-manager that makes the certificate.
	// +optional
	IssuerRef IssuerReference `json:"issuerRef,omitzero"`

	// clientCASecretRef names the authority that the certificates of clients must come from.
	// +optional
	ClientCASecretRef SecretKeyReference `json:"clientCASecretRef,omitzero"`
}

// IssuerReference names an issuer of cert-manager.
type IssuerReference struct {
	// name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// kind of the issuer. The default is Issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// group of the issuer. The default is cert-manager.io.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
}

// ServerTLSMode is libpq's sslmode and PgBouncer's server_tls_sslmode.
//
// +kubebuilder:validation:Enum=disable;allow;prefer;require;verify-ca;verify-full
type ServerTLSMode string

// UpstreamTLS is how the poolers and the operator reach the server.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.caSecretRef) || !has(self.mode) || self.mode.startsWith('verify-')",message="caSecretRef has no effect with this mode: set mode: verify-full or verify-ca"
type UpstreamTLS struct {
	// mode is libpq's sslmode. The default is what the Secret's URL says, and with
	// caSecretRef verify-full; never weaker than require for a host outside the cluster, unless the URL or
	// this field says disable.
	// +optional
	Mode ServerTLSMode `json:"mode,omitempty"`

	// caSecretRef names the authority that the server's certificate must come from.
	// The default is what public sites are trusted by.
	// +optional
	CASecretRef SecretKeyReference `json:"caSecretRef,omitzero"`

	// clientCertSecretRef names a Secret of type kubernetes.io/tls with the certificate
	// that is shown to the server.
	// +optional
	ClientCertSecretRef LocalSecretReference `json:"clientCertSecretRef,omitzero"`
}
