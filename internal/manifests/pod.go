// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
)

const (
	containerName = "pooler"
	// poolerUser is the user and group of the pooler image. The image has no others.
	poolerUser = 65532
)

// Names of a pod's volumes.
const (
	configVolume = "config"
	podVolume    = "pod"
	runVolume    = "run"
)

func podTemplate(in Inputs) *corev1ac.PodTemplateSpecApplyConfiguration {
	return corev1ac.PodTemplateSpec().
		WithLabels(withOwn(in.Pod.Labels, Labels(in.Pool.Name))).
		WithAnnotations(withOwn(in.Pod.Annotations, templateAnnotations(in))).
		WithSpec(podSpec(in))
}

// templateAnnotations are what a pod can not change while it lives.
func templateAnnotations(in Inputs) map[string]string {
	annotations := map[string]string{UpstreamAnnotation: in.Upstream}
	if in.LookedUp {
		annotations[LookupAnnotation] = "true"
	}
	return annotations
}

func podSpec(in Inputs) *corev1ac.PodSpecApplyConfiguration {
	spec := corev1ac.PodSpec().
		WithServiceAccountName(PooledName(in.Pool.Name)).
		WithAutomountServiceAccountToken(false).
		// Environment variables for every Service of the namespace slow a start and change it.
		WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(graceSeconds(in.Rollout)).
		WithSecurityContext(podSecurity()).
		WithContainers(container(in)).
		WithVolumes(volumes(in)...)
	return place(spec, in)
}

// defaultDrainSeconds is how long clients of a pooler that is to end have to leave.
const defaultDrainSeconds = 60

// DrainSeconds is how long clients of a pooler that is to end have to leave.
func DrainSeconds(rollout poolv1.Rollout) int32 {
	if rollout.DrainTimeoutSeconds == nil {
		return defaultDrainSeconds
	}
	return *rollout.DrainTimeoutSeconds
}

// graceSeconds is when a pooler that has not ended is killed. Even one that gives its
// clients no time has yet to hear that new ones go elsewhere.
func graceSeconds(rollout poolv1.Rollout) int64 {
	drain := time.Duration(DrainSeconds(rollout)) * time.Second
	return int64((max(drain, contract.SpreadTime) + contract.GraceMargin).Seconds())
}

// place puts the user's wishes about nodes into the pod.
func place(spec *corev1ac.PodSpecApplyConfiguration, in Inputs) *corev1ac.PodSpecApplyConfiguration {
	wanted := in.Pod
	if len(wanted.NodeSelector) > 0 {
		spec.WithNodeSelector(wanted.NodeSelector)
	}
	for _, toleration := range wanted.Tolerations {
		spec.WithTolerations(sameJSON[*corev1ac.TolerationApplyConfiguration](toleration))
	}
	if wanted.Affinity != nil {
		spec.WithAffinity(sameJSON[*corev1ac.AffinityApplyConfiguration](wanted.Affinity))
	}
	if wanted.PriorityClassName != "" {
		spec.WithPriorityClassName(wanted.PriorityClassName)
	}
	for _, reference := range wanted.ImagePullSecrets {
		spec.WithImagePullSecrets(corev1ac.LocalObjectReference().WithName(reference.Name))
	}
	return spec.WithTopologySpreadConstraints(spread(in)...)
}

// spread puts the poolers on different nodes where there are some, unless the
// user says otherwise.
func spread(in Inputs) []*corev1ac.TopologySpreadConstraintApplyConfiguration {
	if len(in.Pod.TopologySpreadConstraints) == 0 {
		return []*corev1ac.TopologySpreadConstraintApplyConfiguration{
			corev1ac.TopologySpreadConstraint().
				WithMaxSkew(1).
				WithTopologyKey(corev1.LabelHostname).
				WithWhenUnsatisfiable(corev1.ScheduleAnyway).
				WithLabelSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(in.Pool.Name))),
		}
	}
	var constraints []*corev1ac.TopologySpreadConstraintApplyConfiguration
	for _, constraint := range in.Pod.TopologySpreadConstraints {
		constraints = append(constraints, sameJSON[*corev1ac.TopologySpreadConstraintApplyConfiguration](constraint))
	}
	return constraints
}

func podSecurity() *corev1ac.PodSecurityContextApplyConfiguration {
	return corev1ac.PodSecurityContext().
		WithRunAsNonRoot(true).
		WithRunAsUser(poolerUser).
		WithRunAsGroup(poolerUser).
		// The configuration's files are readable to this group alone.
		WithFSGroup(poolerUser).
		WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))
}

func container(in Inputs) *corev1ac.ContainerApplyConfiguration {
	container := corev1ac.Container().
		WithName(containerName).
		WithImage(in.Image).
		WithPorts(
			containerPort(clientPortName, contract.ClientPort),
			containerPort(statusPortName, contract.StatusPort),
			containerPort(metricsPortName, contract.MetricsPort)).
		WithStartupProbe(probe("/healthz").WithPeriodSeconds(1).WithTimeoutSeconds(2).WithFailureThreshold(60)).
		WithReadinessProbe(probe("/readyz").WithPeriodSeconds(int32(contract.ProbePeriod.Seconds())).WithTimeoutSeconds(2).WithFailureThreshold(contract.ProbeFailures)).
		WithLivenessProbe(probe("/healthz").WithPeriodSeconds(10).WithTimeoutSeconds(5).WithFailureThreshold(3)).
		WithResources(resources(in.Pod.Resources)).
		WithSecurityContext(containerSecurity()).
		// The last log lines say why it ended where no message was left.
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithVolumeMounts(
			corev1ac.VolumeMount().WithName(configVolume).WithMountPath(contract.ConfigDir).WithReadOnly(true),
			corev1ac.VolumeMount().WithName(podVolume).WithMountPath(contract.PodDir).WithReadOnly(true),
			corev1ac.VolumeMount().WithName(runVolume).WithMountPath(contract.RunDir))
	if in.ImagePullPolicy != "" {
		container.WithImagePullPolicy(in.ImagePullPolicy)
	}
	return container
}

func containerPort(name string, port int32) *corev1ac.ContainerPortApplyConfiguration {
	return corev1ac.ContainerPort().WithName(name).WithContainerPort(port).WithProtocol(corev1.ProtocolTCP)
}

func probe(path string) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().WithHTTPGet(corev1ac.HTTPGetAction().
		WithPath(path).
		WithPort(intstr.FromString(statusPortName)))
}

func containerSecurity() *corev1ac.SecurityContextApplyConfiguration {
	return corev1ac.SecurityContext().
		WithAllowPrivilegeEscalation(false).
		WithReadOnlyRootFilesystem(true).
		WithCapabilities(corev1ac.Capabilities().WithDrop("ALL"))
}

// resources are the user's, or requests that carry a thousand clients with TLS, at
// 39 kB each, or many more without. They do not follow clients.maxConnections, whose
// change would replace the pods. There is no limit by default: PgBouncer's memory is
// bounded by max_client_conn, and a limit below what that needs would cut every
// client of the pod at once.
func resources(users *corev1.ResourceRequirements) *corev1ac.ResourceRequirementsApplyConfiguration {
	if users != nil {
		return sameJSON[*corev1ac.ResourceRequirementsApplyConfiguration](users)
	}
	return corev1ac.ResourceRequirements().WithRequests(corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("50m"),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	})
}

func volumes(in Inputs) []*corev1ac.VolumeApplyConfiguration {
	return []*corev1ac.VolumeApplyConfiguration{
		corev1ac.Volume().WithName(configVolume).WithSecret(corev1ac.SecretVolumeSource().
			WithSecretName(ConfigSecretName(in.Pool.Name)).
			WithDefaultMode(0o440).
			// The Secret's other keys are the operator's.
			WithItems(corev1ac.KeyToPath().WithKey(contract.ConfigKey).WithPath(contract.ConfigKey))),
		// One volume for all, so that a pod never sees a grant without its own UID.
		corev1ac.Volume().WithName(podVolume).WithDownwardAPI(corev1ac.DownwardAPIVolumeSource().
			WithDefaultMode(0o444).
			WithItems(
				podAnnotation(contract.GrantFile, poolv1.GrantAnnotation),
				podAnnotation(contract.PeersFile, poolv1.PeersAnnotation),
				podField(contract.UIDFile, "metadata.uid"))),
		corev1ac.Volume().WithName(runVolume).WithEmptyDir(corev1ac.EmptyDirVolumeSource().
			WithMedium(corev1.StorageMediumMemory).
			WithSizeLimit(resource.MustParse("16Mi"))),
	}
}

func podAnnotation(path, annotation string) *corev1ac.DownwardAPIVolumeFileApplyConfiguration {
	return podField(path, fmt.Sprintf("metadata.annotations['%s']", annotation))
}

func podField(path, field string) *corev1ac.DownwardAPIVolumeFileApplyConfiguration {
	return corev1ac.DownwardAPIVolumeFile().
		WithPath(path).
		WithFieldRef(corev1ac.ObjectFieldSelector().WithAPIVersion("v1").WithFieldPath(field))
}

// sameJSON turns a part of the user's spec into the apply configuration of the
// same JSON. The parts it is used for leave out what the user left out.
func sameJSON[To any](from any) To {
	var to To
	data, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(data, &to)
	}
	if err != nil {
		panic(err) // Both types are generated from one.
	}
	return to
}
