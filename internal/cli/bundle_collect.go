// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// logLines is how much of each container's log is taken: a day of a busy pooler, and
// far less than what the API server would mind.
const logLines = 20000

// operatorLabels are on all that the chart installs.
var operatorLabels = client.MatchingLabels{"app.kubernetes.io/name": "poolfleet"}

// collect takes what may be read; what may not is in missing.
func (b *bundle) collect(ctx context.Context) {
	b.object("secrets.yaml", b.secrets)
	for i := range b.pools {
		b.keep(&b.pools[i])
	}
	b.list(ctx, &poolv1.UpstreamList{})
	for _, namespace := range b.namespaces() {
		inside := client.InNamespace(namespace)
		ofPools := client.HasLabels{manifests.PoolLabel}
		for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &appsv1.ReplicaSetList{}, &corev1.ServiceList{}, &policyv1.PodDisruptionBudgetList{}} {
			b.list(ctx, list, inside, ofPools)
		}
		// Policies and events of others may be what is wrong.
		b.list(ctx, &networkingv1.NetworkPolicyList{}, inside)
		b.events(ctx, namespace)
		b.pods(ctx, inside, ofPools)
	}
	inside := client.InNamespace(b.operator)
	b.list(ctx, &appsv1.DeploymentList{}, inside, operatorLabels)
	b.list(ctx, &corev1.ServiceList{}, inside, operatorLabels)
	if !slices.Contains(b.namespaces(), b.operator) {
		b.list(ctx, &networkingv1.NetworkPolicyList{}, inside)
		b.events(ctx, b.operator)
	}
	b.pods(ctx, inside, operatorLabels)
	b.values()
}

// list adds all objects of a kind.
func (b *bundle) list(ctx context.Context, list client.ObjectList, options ...client.ListOption) {
	if err := b.session.client.List(ctx, list, options...); err != nil {
		b.lacks(fmt.Sprintf("listing %T", list), err)
		return
	}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		if object, ok := item.(client.Object); ok {
			b.keep(object)
		}
		return nil
	})
	if err != nil {
		b.lacks(fmt.Sprintf("listing %T", list), err)
	}
}

// events adds what happened in a namespace, in the order in which it did.
func (b *bundle) events(ctx context.Context, namespace string) {
	var events corev1.EventList
	if err := b.session.client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
		b.lacks("listing events", err)
		return
	}
	var lines []string
	for _, e := range events.Items {
		last := slices.MaxFunc([]time.Time{e.CreationTimestamp.Time, e.LastTimestamp.Time, e.EventTime.Time}, time.Time.Compare)
		lines = append(lines, fmt.Sprintf("%s %s %s %s/%s x%d: %s\n",
			last.UTC().Format(time.RFC3339), e.Type, e.Reason, e.InvolvedObject.Kind, e.InvolvedObject.Name, max(e.Count, 1), e.Message))
	}
	slices.Sort(lines)
	b.add("events/"+namespace+".txt", strings.Join(lines, ""))
}

// keep adds an object, without what says nothing to a reader.
func (b *bundle) keep(object client.Object) {
	kind, err := apiutil.GVKForObject(object, b.session.client.Scheme())
	if err != nil {
		b.lacks(object.GetName(), err)
		return
	}
	object.GetObjectKind().SetGroupVersionKind(kind)
	object.SetManagedFields(nil)
	annotations := object.GetAnnotations()
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	place := object.GetNamespace()
	if place == "" {
		place = "cluster"
	}
	b.object("objects/"+place+"/"+kind.Kind+"/"+object.GetName()+".yaml", object)
}

// pods adds pods, their logs and their metrics.
func (b *bundle) pods(ctx context.Context, options ...client.ListOption) {
	var pods corev1.PodList
	if err := b.session.client.List(ctx, &pods, options...); err != nil {
		b.lacks("listing pods", err)
		return
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		b.keep(pod)
		for _, status := range pod.Status.ContainerStatuses {
			b.log(ctx, pod, status.Name, false)
			if status.RestartCount > 0 {
				b.log(ctx, pod, status.Name, true)
			}
		}
		b.metrics(ctx, pod)
	}
}

func (b *bundle) log(ctx context.Context, pod *corev1.Pod, container string, previous bool) {
	lines := int64(logLines)
	name := "logs/" + pod.Namespace + "/" + pod.Name + "/" + container + ".log"
	if previous {
		name += ".previous"
	}
	text, err := b.session.core.Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &lines, Timestamps: true,
	}).DoRaw(ctx)
	if err != nil {
		b.lacks(name, err)
		return
	}
	b.add(name, string(text))
}

func (b *bundle) metrics(ctx context.Context, pod *corev1.Pod) {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name != "metrics" {
				continue
			}
			name := "metrics/" + pod.Namespace + "/" + pod.Name + ".txt"
			text, err := b.session.core.Pods(pod.Namespace).ProxyGet("http", pod.Name, strconv.Itoa(int(port.ContainerPort)), "metrics", nil).DoRaw(ctx)
			if err != nil {
				b.lacks(name, err)
				continue
			}
			b.add(name, string(text))
		}
	}
}
