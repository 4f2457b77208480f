// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// EdgeMode says whether the gateway serves a pool.
//
// +kubebuilder:validation:Enum=Enabled;Disabled
type EdgeMode string

const (
	// EdgeEnabled has the gateway serve the pool.
	EdgeEnabled EdgeMode = "Enabled"
	// EdgeDisabled has it know nothing of the pool; it is the default.
	EdgeDisabled EdgeMode = "Disabled"
)

// PoolEdge lets workers reach the pool through the gateway, with the users and
// passwords that the poolers accept.
//
// +kubebuilder:validation:MinProperties=1
type PoolEdge struct {
	// mode is Enabled or Disabled. The default is Disabled: the gateway knows nothing of
	// the pool.
	// +optional
	Mode EdgeMode `json:"mode,omitempty"`

	// name is the pool's label under the gateway's domain: workers connect to
	// NAME.DOMAIN. The default is POOL-NAMESPACE. Where two pools claim a name, the older
	// one has it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['api', 'apiauth'])",message="api and apiauth are the gateway's own names; choose another"
	Name string `json:"name,omitempty"`

	// maxConcurrency is how many requests and open WebSockets of the pool each replica of
	// the gateway serves at once; more are refused with status 429. The default is 1000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxConcurrency int32 `json:"maxConcurrency,omitempty"`
}

// PublishedEdge is how workers reach the pool through the gateway.
//
// +kubebuilder:validation:MinProperties=1
type PublishedEdge struct {
	// name is the pool's label under the gateway's domain.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// host is the full name that workers connect to, at port 443.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`
}
