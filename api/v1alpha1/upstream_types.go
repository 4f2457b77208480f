// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Upstream is one PostgreSQL server and the account of its connections. The
// operator makes it when the first ConnectionPool names the server. Its spec
// belongs to the database's administrator.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=poolfleet
// +kubebuilder:metadata:annotations={"argocd.argoproj.io/sync-options=Prune=false","kustomize.toolkit.fluxcd.io/prune=disabled"}
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.status.endpoints[0].address`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.server.version`
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.status.capacity.maxConnections`,description="The server's max_connections"
// +kubebuilder:printcolumn:name="Reserved",type=integer,JSONPath=`.status.capacity.withheld`,description="Connections that pools never take"
// +kubebuilder:printcolumn:name="Budget",type=integer,JSONPath=`.status.capacity.budget`,description="Connections that all pools together may take"
// +kubebuilder:printcolumn:name="Granted",type=integer,JSONPath=`.status.granted`,description="Connections that pools may open now"
// +kubebuilder:printcolumn:name="In Use",type=integer,JSONPath=`.status.use.connections`,description="Client connections that the server has, those of others included"
// +kubebuilder:printcolumn:name="Pools",type=integer,JSONPath=`.status.poolCount`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Upstream struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the administrator's word on how much pools may take.
	// +optional
	Spec UpstreamSpec `json:"spec,omitzero"`

	// status is the account: what the server has, and who holds what.
	// +optional
	Status UpstreamStatus `json:"status,omitzero"`
}

// UpstreamList is a list of Upstreams.
//
// +kubebuilder:object:root=true
type UpstreamList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Upstream `json:"items"`
}

// UpstreamSpec is the administrator's word on how much pools may take.
//
// +kubebuilder:validation:MinProperties=1
type UpstreamSpec struct {
	// directConnections is how many connections pools leave to others: migrations,
	// people, exporters, the operator's own look at the server. They are kept free
	// beside those that others have for long, which come off the budget. A number, or
	// a percentage of max_connections. At least 2; the default is 5%, at least 3.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 2 : self.matches('^([0-9]|[1-9][0-9])%$')",message="directConnections must be a number of at least 2, or a percentage from 0% to 99% (at least 2 connections are kept in any case)"
	DirectConnections *intstr.IntOrString `json:"directConnections,omitempty"`

	// maxServerConnections is a ceiling on what all pools together take, below what
	// the server could give, for instance where two clusters share it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=262143
	MaxServerConnections int32 `json:"maxServerConnections,omitempty"`

	// allowedNamespaces are the namespaces whose pools may use this server. Empty
	// means all. Poolers that run when their namespace is taken off the list keep the
	// connections they have until they end, and no new ones get any.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	AllowedNamespaces []string `json:"allowedNamespaces,omitempty"`

	// namespaces bound and weigh the pools of one namespace together.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Namespaces []NamespaceClaim `json:"namespaces,omitempty"`
}

// NamespaceClaim is the administrator's word on all pools of one namespace.
//
// +kubebuilder:validation:XValidation:rule="has(self.weight) || has(self.maximum)",message="name a weight, a maximum or both for the namespace"
type NamespaceClaim struct {
	// name of the namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// weight of the namespace beside other namespaces and pools. Its pools divide it by
	// their own weights. Without one, each of its pools weighs by itself.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Weight int32 `json:"weight,omitempty"`

	// maximum is how many server connections its pools take at most, all together.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=262143
	Maximum int32 `json:"maximum,omitempty"`
}
