// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// routeTime is how long an address may take to answer before this machine counts as
// having no route to it.
const routeTime = 2 * time.Second

const loopback = "127.0.0.1"

// errNoService says that a host is no Service of the cluster.
var errNoService = errors.New("it is no Service of the cluster")

// podPort is a port of a pod.
type podPort struct {
	pod  client.ObjectKey
	port int32
}

// routable reports whether something accepts connections at the address from here.
func routable(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, routeTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// behind finds a ready pod behind a host that is a Service, as a client in the
// session's namespace spells it.
func (s *session) behind(ctx context.Context, host string, port uint16) (podPort, error) {
	key, ok := serviceOf(host, s.namespace)
	if !ok {
		return podPort{}, fmt.Errorf("host %s: %w", host, errNoService)
	}
	var service corev1.Service
	err := s.client.Get(ctx, key, &service)
	if apierrors.IsNotFound(err) || err == nil && len(service.Spec.Selector) == 0 {
		return podPort{}, fmt.Errorf("host %s: %w", host, errNoService)
	}
	if err != nil {
		return podPort{}, fmt.Errorf("reading Service %s: %w", key, err)
	}
	var pods corev1.PodList
	if err := s.client.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return podPort{}, fmt.Errorf("listing the pods of Service %s: %w", key, err)
	}
	for i := range pods.Items {
		if target, ok := targetOf(&service, &pods.Items[i], port); ok && podReady(&pods.Items[i]) {
			return podPort{pod: client.ObjectKeyFromObject(&pods.Items[i]), port: target}, nil
		}
	}
	return podPort{}, fmt.Errorf("no pod behind Service %s is ready for port %d", key, port)
}

// serviceOf reads NAME, NAME.NAMESPACE and NAME.NAMESPACE.svc with or without the
// cluster's domain.
func serviceOf(host, namespace string) (client.ObjectKey, bool) {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	switch {
	case net.ParseIP(host) != nil:
		return client.ObjectKey{}, false
	case len(labels) == 1:
		return client.ObjectKey{Namespace: namespace, Name: labels[0]}, true
	case len(labels) == 2, labels[2] == "svc":
		return client.ObjectKey{Namespace: labels[1], Name: labels[0]}, true
	}
	return client.ObjectKey{}, false
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// targetOf is the pod's port that a port of the Service leads to.
func targetOf(service *corev1.Service, pod *corev1.Pod, port uint16) (int32, bool) {
	for _, p := range service.Spec.Ports {
		if p.Port != int32(port) {
			continue
		}
		if p.TargetPort.StrVal == "" {
			return p.TargetPort.IntVal, true
		}
		for _, container := range pod.Spec.Containers {
			for _, named := range container.Ports {
				if named.Name == p.TargetPort.StrVal {
					return named.ContainerPort, true
				}
			}
		}
	}
	return 0, false
}

// forward opens a port of this machine, on the loopback address alone, that leads
// through the API server to a pod until close is called.
func (s *session) forward(ctx context.Context, to podPort) (port uint16, closer func(), err error) {
	dialer, err := s.podDialer(to.pod)
	if err != nil {
		return 0, nil, err
	}
	// An interrupt is for who uses the port: it ends with close alone. What client-go
	// would log of single connections, they see themselves.
	running, stop := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	ready, done := make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(running, dialer, []string{loopback}, []string{"0:" + strconv.Itoa(int(to.port))}, ready, io.Discard, io.Discard)
	if err != nil {
		stop()
		return 0, nil, fmt.Errorf("preparing a port-forward: %w", err)
	}
	go func() { done <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		stop()
		return 0, nil, fmt.Errorf("forwarding a port to pod %s: %w", to.pod, err)
	case <-ctx.Done():
		stop()
		return 0, nil, ctx.Err()
	}
	closer = func() {
		stop()
		<-done //nolint:errcheck // It says that it was stopped.
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		closer()
		return 0, nil, fmt.Errorf("forwarding a port to pod %s: %w", to.pod, err)
	}
	return ports[0].Local, closer, nil
}

// podDialer speaks as kubectl does: by WebSocket, and by SPDY to an API server, or a
// proxy before it, that does not know that.
func (s *session) podDialer(pod client.ObjectKey) (httpstream.Dialer, error) {
	url := s.core.RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(s.config)
	if err != nil {
		return nil, fmt.Errorf("preparing a port-forward: %w", err)
	}
	older := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	newer, err := portforward.NewSPDYOverWebsocketDialerForStreamingWithLogger(logr.Discard(), url, s.config)
	if err != nil {
		return nil, fmt.Errorf("preparing a port-forward: %w", err)
	}
	return portforward.NewFallbackDialerForStreaming(newer, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
