// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
	"github.com/poolfleet/poolfleet/internal/postgres"
)

// serving reports whether poolers run, so that clients may be served whatever is wrong
// behind them.
func (x *examination) serving() bool {
	return x.pool.Status.ReadyReplicas != nil && *x.pool.Status.ReadyReplicas > 0
}

// harmful is a fault that ends the examination unless poolers run.
func (x *examination) harmful(f finding) finding {
	f.last = !x.serving()
	return f
}

// operator looks whether the operator has seen the newest spec.
func (x *examination) operator(context.Context) finding {
	observed := x.pool.Status.ObservedGeneration
	if observed != nil && *observed == x.pool.Generation {
		return found("has looked at the newest spec; Ready is %s", readyWords(x.pool))
	}
	return fault("Look whether the operator runs: kubectl get pods -A -l app.kubernetes.io/name=poolfleet; with watchNamespaces set it looks at those alone",
		"the operator has not looked at the newest spec").ends()
}

// upstreamSecret reads what the operator reads. Where that is not allowed, the
// operator's own word has to do.
func (x *examination) upstreamSecret(ctx context.Context) finding {
	reference := x.pool.Spec.Upstream.SecretRef
	x.fromStatus()
	secret, err := x.session.secret(ctx, reference.Name)
	switch {
	case apierrors.IsNotFound(err):
		return x.harmful(fault("Make it, or correct spec.upstream.secretRef", "Secret %s is not there", reference.Name))
	case apierrors.IsForbidden(err):
		return noted("you may not read Secret %s: the operator's word has to do", reference.Name)
	case err != nil:
		return fault("", "%v", err).ends()
	}
	source, err := postgres.ParseSecret(secret.Data, reference.Key)
	if err != nil {
		return x.harmful(fault("", "Secret %s: %v", reference.Name, err))
	}
	x.host, x.port = source.Host, source.Port
	return found("Secret %s names user %s and database %s at %s", reference.Name, source.User, source.Database, source.Endpoint())
}

func (x *examination) fromStatus() {
	host, port, err := net.SplitHostPort(x.pool.Status.Upstream.Endpoint)
	number, wrong := strconv.ParseUint(port, 10, 16)
	if err == nil && wrong == nil {
		x.host, x.port = host, uint16(number)
	}
}

// dns looks the server's name up. From here it may lead elsewhere, or nowhere, so only
// a Service that is not there is a fault.
func (x *examination) dns(ctx context.Context) finding {
	if x.host == "" {
		return noted("the server's host is not known")
	}
	if net.ParseIP(x.host) != nil {
		return found("%s is an address", x.host)
	}
	key, inside := serviceOf(x.host, x.pool.Namespace)
	if inside && (!strings.Contains(x.host, ".") || strings.Contains(x.host, ".svc")) {
		return x.service(ctx, key)
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, x.host)
	if err != nil {
		return noted("from this machine %s leads nowhere; what counts is where it leads from the cluster, which the next step says", x.host)
	}
	return found("from this machine %s leads to %s", x.host, addresses[0])
}

func (x *examination) service(ctx context.Context, key client.ObjectKey) finding {
	var service corev1.Service
	err := x.session.client.Get(ctx, key, &service)
	if apierrors.IsNotFound(err) {
		return x.harmful(fault("Correct the host in the Secret; a Service in another namespace is <service>.<namespace>.svc",
			"there is no Service %s in namespace %s", key.Name, key.Namespace))
	}
	if err != nil {
		return noted("Service %s could not be read: %v", key, err)
	}
	return found("%s is Service %s in namespace %s", x.host, key.Name, key.Namespace)
}

func (x *examination) condition(kind string) metav1.Condition {
	if c := meta.FindStatusCondition(x.pool.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: poolv1.ReasonPending, Message: "the operator has not said anything of it yet"}
}

// judged is a condition as a finding. The operator's messages say what to do.
func (x *examination) judged(kind string) finding {
	c := x.condition(kind)
	words := c.Reason + ": " + c.Message
	switch c.Status {
	case metav1.ConditionTrue:
		return found("%s", c.Message)
	case metav1.ConditionFalse:
		return x.harmful(fault("", "%s", words))
	case metav1.ConditionUnknown:
	}
	return noted("%s", words)
}

// server is the operator's own look at the server, from where the poolers are.
func (x *examination) server(context.Context) finding {
	return x.judged(poolv1.ConditionUpstreamObserved)
}

func (x *examination) budget(context.Context) finding {
	f := x.judged(poolv1.ConditionBudgetGranted)
	if f.Result == stepFault && x.pool.Status.Upstream.Name != "" {
		f.Do = "kubectl poolfleet budget " + x.pool.Status.Upstream.Name + " says who holds what"
	}
	return f
}

// running looks at the pods: at least one has to take clients.
func (x *examination) running(ctx context.Context) finding {
	if x.pool.Spec.Replicas != nil && *x.pool.Spec.Replicas == 0 {
		return fault("kubectl scale connectionpools.poolfleet.dev/"+x.pool.Name+" --replicas=2",
			"%s: spec.replicas is 0, so nobody can connect", poolv1.ReasonScaledToZero).ends()
	}
	var pods corev1.PodList
	err := x.session.client.List(ctx, &pods, client.InNamespace(x.pool.Namespace), client.MatchingLabels(manifests.Selector(x.pool.Name)))
	if err != nil {
		return fault("", "listing pods: %v", err).ends()
	}
	var troubles []string
	for _, pod := range pods.Items {
		if podReady(&pod) {
			x.poolers = append(x.poolers, pod)
		} else if pod.DeletionTimestamp == nil {
			troubles = append(troubles, trouble(&pod))
		}
	}
	return x.count(len(pods.Items), troubles)
}

func (x *examination) count(pods int, troubles []string) finding {
	c := x.condition(poolv1.ConditionPoolersAvailable)
	switch {
	case len(x.poolers) == 0 && pods == 0:
		return fault("", "there is no pooler pod: %s: %s", c.Reason, c.Message).ends()
	case len(x.poolers) == 0:
		return fault("", "no pooler is ready: %s", strings.Join(troubles, "; ")).ends()
	case c.Status == metav1.ConditionFalse:
		return fault(strings.Join(troubles, "; "), "%s: %s", c.Reason, c.Message)
	case len(troubles) > 0:
		return noted("%s; %s", c.Message, strings.Join(troubles, "; "))
	}
	return found("%d pods take clients", len(x.poolers))
}

// trouble says why a pod takes no clients.
func trouble(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil {
			return fmt.Sprintf("pod %s waits: %s: %s", pod.Name, waiting.Reason, waiting.Message)
		}
		if ended := status.LastTerminationState.Terminated; ended != nil && ended.ExitCode != 0 {
			return fmt.Sprintf("pod %s has restarted %d times, the last time with exit code %d", pod.Name, status.RestartCount, ended.ExitCode)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("pod %s has no node: %s", pod.Name, c.Message)
		}
	}
	if pod.Annotations[poolv1.GrantAnnotation] == "" {
		return fmt.Sprintf("pod %s waits for its grant of server connections", pod.Name)
	}
	return fmt.Sprintf("pod %s is not ready yet", pod.Name)
}

// config looks whether poolers run what the spec asks for, and whether that is to hold
// their clients.
func (x *examination) config(context.Context) finding {
	if ready := readyOf(x.pool); poolv1.Holds(ready.Reason) {
		return fault("kubectl poolfleet resume "+x.pool.Name, "%s: %s", ready.Reason, ready.Message).ends()
	}
	f := x.judged(poolv1.ConditionConfigApplied)
	if x.condition(poolv1.ConditionConfigApplied).Reason == poolv1.ReasonReloading {
		return noted("%s", f.Says)
	}
	return f
}

// published reads what applications read.
func (x *examination) published(ctx context.Context) finding {
	secret, err := x.session.published(ctx, x.pool)
	if exit, ok := errors.AsType[*exitError](err); ok {
		return fault("", "%v", exit).ends()
	}
	if apierrors.IsForbidden(err) {
		return noted("you may not read Secret %s: connecting is not tried", x.pool.Status.Binding.Name).ends()
	}
	if err != nil {
		return fault("", "%v", err).ends()
	}
	x.secret = secret
	to, err := pooledLogin(x.pool, secret.Data)
	if err != nil {
		return fault("", "%v", err).ends()
	}
	if to.User == "" {
		return noted("Secret %s names no user, as each application has its own: connecting is not tried", secret.Name).ends()
	}
	if strings.HasPrefix(string(x.pool.Spec.TLS.Mode), "verify-") {
		return noted("the poolers ask clients for certificates, and doctor has none: connecting is not tried").ends()
	}
	return found("Secret %s names user %s", secret.Name, to.User)
}

// room says what is left at the server.
func (x *examination) room(ctx context.Context) finding {
	var upstream poolv1.Upstream
	err := x.session.client.Get(ctx, client.ObjectKey{Name: x.pool.Status.Upstream.Name}, &upstream)
	if err != nil {
		return noted("Upstream %s could not be read: %v", x.pool.Status.Upstream.Name, err)
	}
	for _, kind := range []string{poolv1.ConditionWithinBudget, poolv1.ConditionHeadroomAvailable, poolv1.ConditionAdmissionActive} {
		if c := meta.FindStatusCondition(upstream.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return noted("%s: %s", c.Reason, c.Message)
		}
	}
	capacity, use := upstream.Status.Capacity, upstream.Status.Use
	if capacity.Budget == nil || upstream.Status.Granted == nil {
		return noted("the server's account is not known yet")
	}
	words := fmt.Sprintf("pools are granted %d of the %d connections that they may have", *upstream.Status.Granted, *capacity.Budget)
	if use.Connections != nil && capacity.MaxConnections != nil {
		words += fmt.Sprintf("; the server has %d of %d left", max(*capacity.MaxConnections-*use.Connections, 0), *capacity.MaxConnections)
	}
	return found("%s", words)
}
