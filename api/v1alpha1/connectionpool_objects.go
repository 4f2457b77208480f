// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// PoolService shapes the Service of a pool. It is always named <pool>-pool.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')",message="loadBalancerClass needs type: LoadBalancer"
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerSourceRanges) || (has(self.type) && self.type == 'LoadBalancer')",message="loadBalancerSourceRanges needs type: LoadBalancer"
type PoolService struct {
	// type of the Service: ClusterIP, NodePort or LoadBalancer. The default is ClusterIP.
	// +optional
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	Type corev1.ServiceType `json:"type,omitempty"`

	// annotations are put on the Service, for instance for a cloud's load balancer.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`

	// loadBalancerClass chooses the load balancer implementation.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	LoadBalancerClass string `json:"loadBalancerClass,omitempty"`

	// loadBalancerSourceRanges are the client networks let in, in CIDR notation.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	LoadBalancerSourceRanges []string `json:"loadBalancerSourceRanges,omitempty"`

	// externalHostname is the name under which clients outside the cluster reach the
	// Service. The poolers' certificate names it, and the published Secret has a URL with
	// it, EXTERNAL_URL, and texts for a Worker's project, hyperdrive-create.sh among them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="externalHostname must be a DNS name in small letters, such as db.example.com"
	ExternalHostname string `json:"externalHostname,omitempty"`

	// ipFamilyPolicy is the Service's own: SingleStack, PreferDualStack or RequireDualStack.
	// +optional
	// +kubebuilder:validation:Enum=SingleStack;PreferDualStack;RequireDualStack
	IPFamilyPolicy corev1.IPFamilyPolicy `json:"ipFamilyPolicy,omitempty"`
}

// PublishedSecret shapes the Secret that applications read.
//
// +kubebuilder:validation:MinProperties=1
type PublishedSecret struct {
	// name of the Secret. The default is <pool>-pool.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// labels are put on the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]string `json:"labels,omitempty"`

	// annotations are put on the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
}

// PodOverrides changes the pooler pods. A change of it rolls them.
//
// +kubebuilder:validation:MinProperties=1
type PodOverrides struct {
	// labels are put on the pods beside the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]string `json:"labels,omitempty"`

	// annotations are put on the pods beside the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`

	// resources of the pooler container.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// nodeSelector chooses nodes by label.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// tolerations let the pods onto tainted nodes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// affinity of the pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// topologySpreadConstraints of the pods. The default spreads them over nodes
	// where that is possible.
	// +optional
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// imagePullSecrets for the pooler image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
}

// PoolDisruptionBudget shapes the PodDisruptionBudget of a pool.
//
// +kubebuilder:validation:MinProperties=1
type PoolDisruptionBudget struct {
	// maxUnavailable is how many poolers may be evicted at once. The default is 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	MaxUnavailable *int32 `json:"maxUnavailable,omitempty"`
}

// NetworkPolicyMode says whether the operator makes a NetworkPolicy.
//
// +kubebuilder:validation:Enum=Disabled;Enabled
type NetworkPolicyMode string

const (
	// NetworkPolicyDisabled makes none.
	NetworkPolicyDisabled NetworkPolicyMode = "Disabled"
	// NetworkPolicyEnabled makes one for the pool's poolers.
	NetworkPolicyEnabled NetworkPolicyMode = "Enabled"
)

// PoolNetworkPolicy shapes the NetworkPolicy of a pool.
//
// +kubebuilder:validation:XValidation:rule="!has(self.from) || self.mode == 'Enabled'",message="from has no effect unless mode is Enabled: set mode: Enabled or leave from out"
type PoolNetworkPolicy struct {
	// mode is Enabled to make a NetworkPolicy for the poolers: clients of `from` reach
	// the pooled port, and so does the gateway where edge.mode is Enabled; the operator
	// reaches the status port, and the poolers reach
	// DNS and the server's port.
	// +required
	Mode NetworkPolicyMode `json:"mode,omitempty"`

	// from are the clients let in. Empty lets in all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	From []networkingv1.NetworkPolicyPeer `json:"from,omitempty"`
}
