// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// legacyValues have the gateway serve Prisma's clients 5 and 6 without an engine.
var legacyValues = []string{ownTLS, "edge.accelerateLegacy.enabled=true", "edge.accelerateLegacy.image.repository=registry.example.com/legacy"}

func TestTheSidecarIsInstalledOnlyWhereItIsAskedFor(t *testing.T) {
	pod := gatewayOf(t, withEdge(t, ownTLS)).Spec.Template.Spec
	if len(pod.InitContainers) != 0 || strings.Contains(strings.Join(pod.Containers[0].Args, " "), "legacy") {
		t.Errorf("beside the gateway there is %v, and its arguments are %q", pod.InitContainers, pod.Containers[0].Args)
	}
	_, err := chart(t, slices.Concat(edgeValues, []string{ownTLS, "edge.accelerateLegacy.enabled=true"})...).Template(t.Context())
	if err == nil || !strings.Contains(err.Error(), "set edge.accelerateLegacy.image.repository to where the image is") {
		t.Errorf("without an image helm said %v", err)
	}
}

func TestGatewayAndSidecarShareASocketAndLimits(t *testing.T) {
	for name, tls := range map[string]string{"with the gateway's TLS": ownTLS, "behind an Ingress": "edge.tls.secretName=,edge.ingress.enabled=true"} {
		t.Run(name, func(t *testing.T) {
			pod := gatewayOf(t, withEdge(t, append(slices.Clone(legacyValues), tls, "edge.limits.resultBytes=52428800", "edge.limits.requestTimeoutSeconds=30")...)).Spec.Template.Spec
			gateway, sidecar := pod.Containers[0], pod.InitContainers[0]
			want := []string{"--accelerate-legacy-socket=/run/accelerate/legacy.sock", "--max-result-bytes=52428800", "--request-timeout=30s"}
			if !contains(gateway.Args, want) {
				t.Errorf("the gateway's arguments are %q, want %q among them", gateway.Args, want)
			}
			want = []string{"--socket=/run/accelerate/legacy.sock", "--max-result-bytes=52428800", "--max-statement-seconds=30", "--max-transaction-seconds=15", "--health-port=9091"}
			if !contains(sidecar.Args, want) {
				t.Errorf("the sidecar's arguments are %q, want %q among them", sidecar.Args, want)
			}
			shared := func(mount corev1.VolumeMount) bool {
				return mount.Name == "accelerate" && mount.MountPath == "/run/accelerate" && !mount.ReadOnly
			}
			if !slices.ContainsFunc(gateway.VolumeMounts, shared) || !slices.ContainsFunc(sidecar.VolumeMounts, shared) || len(sidecar.VolumeMounts) != 1 {
				t.Errorf("mounted are %v and %v", gateway.VolumeMounts, sidecar.VolumeMounts)
			}
			if i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "accelerate" }); i < 0 || pod.Volumes[i].EmptyDir == nil {
				t.Errorf("the volumes are %v", pod.Volumes)
			}
		})
	}
}

func TestTheSidecarOutlivesTheGatewayAndMeetsTheRestrictedPodSecurityStandard(t *testing.T) {
	pod := gatewayOf(t, withEdge(t, legacyValues...)).Spec.Template.Spec
	isRestricted(t, pod, "tls", "accelerate")
	sidecar := pod.InitContainers[0]
	if sidecar.RestartPolicy == nil || *sidecar.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("its restart policy is %v: Kubernetes ends it with the gateway", sidecar.RestartPolicy)
	}
	if diff := cmp.Diff(pod.Containers[0].SecurityContext, sidecar.SecurityContext); diff != "" {
		t.Errorf("its security context (-gateway's +its):\n%s", diff)
	}
	if sidecar.Resources.Limits.Memory().IsZero() {
		t.Error("its memory has no limit")
	}
}
