// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/poolfleet/poolfleet/internal/contract"
)

// Names of a pooler's ports.
const (
	clientPortName = "postgresql"
	statusPortName = "status"
	// metricsPortName is what the chart's PodMonitor selects.
	metricsPortName = "metrics"
)

// service is the stable address behind the published URLs. The port is the one
// that every PostgreSQL client expects, so that only the host changes.
func service(in Inputs) *corev1ac.ServiceApplyConfiguration {
	name := PooledName(in.Pool.Name)
	service := corev1ac.Service(name, in.Pool.Namespace)
	service.ObjectMetaApplyConfiguration = in.objectMeta(name, nil, in.Service.Annotations)
	return service.WithSpec(serviceSpec(in))
}

func serviceSpec(in Inputs) *corev1ac.ServiceSpecApplyConfiguration {
	wanted := in.Service
	spec := corev1ac.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).
		WithSelector(Selector(in.Pool.Name)).
		WithPorts(corev1ac.ServicePort().
			WithName(clientPortName).
			WithProtocol(corev1.ProtocolTCP).
			// Service meshes guess at a protocol they are not told, and know none for PostgreSQL.
			WithAppProtocol("tcp").
			WithPort(contract.ClientPort).
			WithTargetPort(intstr.FromString(clientPortName)))
	if wanted.Type != "" {
		spec.WithType(wanted.Type)
	}
	if wanted.LoadBalancerClass != "" {
		spec.WithLoadBalancerClass(wanted.LoadBalancerClass)
	}
	if wanted.IPFamilyPolicy != "" {
		spec.WithIPFamilyPolicy(wanted.IPFamilyPolicy)
	}
	return spec.WithLoadBalancerSourceRanges(wanted.LoadBalancerSourceRanges...)
}
