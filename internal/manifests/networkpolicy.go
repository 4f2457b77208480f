// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/poolfleet/poolfleet/internal/contract"
)

const dnsPort = 53

// networkPolicy says who reaches the poolers and whom they reach. The server is
// named by its port alone: a policy can not name a host, and behind a Service's
// address it is the address of a pod that counts.
func networkPolicy(in Inputs) *networkingv1ac.NetworkPolicyApplyConfiguration {
	name := PooledName(in.Pool.Name)
	policy := networkingv1ac.NetworkPolicy(name, in.Pool.Namespace)
	policy.ObjectMetaApplyConfiguration = in.objectMeta(name, nil, nil)
	spec := networkingv1ac.NetworkPolicySpec().
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(in.Pool.Name))).
		WithPolicyTypes(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress).
		WithIngress(
			networkingv1ac.NetworkPolicyIngressRule().
				WithFrom(clients(in.NetworkPolicy.From)...).
				WithPorts(policyPort(corev1.ProtocolTCP, contract.ClientPort)),
			// Poolers hand on each other's cancel requests.
			networkingv1ac.NetworkPolicyIngressRule().
				WithFrom(peers(in)).
				WithPorts(policyPort(corev1.ProtocolTCP, contract.ClientPort)),
			networkingv1ac.NetworkPolicyIngressRule().
				WithFrom(namespacePeer(in.OperatorNamespace)).
				WithPorts(policyPort(corev1.ProtocolTCP, contract.StatusPort)),
			networkingv1ac.NetworkPolicyIngressRule().
				WithFrom(scrapers(in.ScraperNamespaces)...).
				WithPorts(policyPort(corev1.ProtocolTCP, contract.MetricsPort))).
		WithEgress(
			networkingv1ac.NetworkPolicyEgressRule().
				WithPorts(policyPort(corev1.ProtocolUDP, dnsPort), policyPort(corev1.ProtocolTCP, dnsPort)),
			networkingv1ac.NetworkPolicyEgressRule().
				WithTo(peers(in)).
				WithPorts(policyPort(corev1.ProtocolTCP, contract.ClientPort)),
			networkingv1ac.NetworkPolicyEgressRule().
				WithPorts(policyPort(corev1.ProtocolTCP, in.UpstreamPort)))
	if in.AtEdge && len(in.NetworkPolicy.From) > 0 { // Without From all are let in.
		spec.WithIngress(networkingv1ac.NetworkPolicyIngressRule().
			WithFrom(namespacePeer(in.OperatorNamespace).WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(GatewayLabels()))).
			WithPorts(policyPort(corev1.ProtocolTCP, contract.ClientPort)))
	}
	return policy.WithSpec(spec)
}

// GatewayLabels are those of the gateway's pods, as the chart has them.
func GatewayLabels() map[string]string {
	return map[string]string{nameLabel: "poolfleet", componentLabel: "edge"}
}

func clients(from []networkingv1.NetworkPolicyPeer) []*networkingv1ac.NetworkPolicyPeerApplyConfiguration {
	var all []*networkingv1ac.NetworkPolicyPeerApplyConfiguration
	for _, peer := range from {
		all = append(all, sameJSON[*networkingv1ac.NetworkPolicyPeerApplyConfiguration](peer))
	}
	return all
}

// peers are the pool's own poolers.
func peers(in Inputs) *networkingv1ac.NetworkPolicyPeerApplyConfiguration {
	return networkingv1ac.NetworkPolicyPeer().WithPodSelector(
		metav1ac.LabelSelector().WithMatchLabels(Selector(in.Pool.Name)))
}

func scrapers(namespaces []string) []*networkingv1ac.NetworkPolicyPeerApplyConfiguration {
	var all []*networkingv1ac.NetworkPolicyPeerApplyConfiguration
	for _, namespace := range namespaces {
		all = append(all, namespacePeer(namespace))
	}
	return all
}

func namespacePeer(namespace string) *networkingv1ac.NetworkPolicyPeerApplyConfiguration {
	return networkingv1ac.NetworkPolicyPeer().WithNamespaceSelector(
		metav1ac.LabelSelector().WithMatchLabels(map[string]string{corev1.LabelMetadataName: namespace}))
}

func policyPort(protocol corev1.Protocol, port int32) *networkingv1ac.NetworkPolicyPortApplyConfiguration {
	return networkingv1ac.NetworkPolicyPort().WithProtocol(protocol).WithPort(intstr.FromInt32(port))
}
