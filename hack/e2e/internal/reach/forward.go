// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tunnel is one connection through the API server to one pod; it carries all
// connections to that pod.
type tunnel struct {
	httpstream.Connection
	mu      sync.Mutex
	request int
}

// forward connects to a ready pod behind the Service, a different one each time.
func (d *Dialer) forward(ctx context.Context, service types.NamespacedName, port string) (net.Conn, error) {
	pod, target, err := d.backend(ctx, service, port)
	if err != nil {
		return nil, err
	}
	t, err := d.tunnel(client.ObjectKeyFromObject(pod))
	if err != nil {
		return nil, err
	}
	return t.connect(target)
}

// backend chooses a ready pod and finds the port that the Service's port leads to.
func (d *Dialer) backend(ctx context.Context, key types.NamespacedName, port string) (*corev1.Pod, int32, error) {
	var service corev1.Service
	if err := d.client.Get(ctx, key, &service); err != nil {
		return nil, 0, fmt.Errorf("reading service %s: %w", key, err)
	}
	var pods corev1.PodList
	if err := d.client.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return nil, 0, fmt.Errorf("listing the pods of service %s: %w", key, err)
	}
	var candidates []*corev1.Pod
	for i := range pods.Items {
		if ready(&pods.Items[i]) {
			candidates = append(candidates, &pods.Items[i])
		}
	}
	if len(candidates) == 0 {
		return nil, 0, fmt.Errorf("reaching service %s: it has no ready pod", key)
	}
	d.mu.Lock()
	d.turn++
	pod := candidates[d.turn%len(candidates)]
	d.mu.Unlock()
	target, err := targetPort(&service, pod, port)
	return pod, target, err
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

func targetPort(service *corev1.Service, pod *corev1.Pod, port string) (int32, error) {
	for _, p := range service.Spec.Ports {
		if strconv.Itoa(int(p.Port)) != port {
			continue
		}
		if p.TargetPort.Type == intstr.Int {
			return p.TargetPort.IntVal, nil
		}
		for _, container := range pod.Spec.Containers {
			for _, named := range container.Ports {
				if named.Name == p.TargetPort.StrVal {
					return named.ContainerPort, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("reaching service %s/%s: it has no port %s", service.Namespace, service.Name, port)
}

// tunnel returns the open tunnel to a pod, or opens one.
func (d *Dialer) tunnel(pod types.NamespacedName) (*tunnel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tunnels[pod]; t != nil {
		select {
		case <-t.CloseChan():
		default:
			return t, nil
		}
	}
	target, err := forwardURL(d.config, pod)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(d.config)
	if err != nil {
		return nil, fmt.Errorf("preparing a tunnel to pod %s: %w", pod, err)
	}
	connection, _, err := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target).
		Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("opening a tunnel to pod %s: %w", pod, err)
	}
	d.tunnels[pod] = &tunnel{Connection: connection}
	return d.tunnels[pod], nil
}

func forwardURL(config *rest.Config, pod types.NamespacedName) (*url.URL, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	return base.JoinPath("api/v1/namespaces", pod.Namespace, "pods", pod.Name, "portforward"), nil
}

// connect opens the pair of streams that stands for one connection to the pod's
// port. Source: kubectl's port-forward, protocol portforward.k8s.io.
func (t *tunnel) connect(port int32) (net.Conn, error) {
	t.mu.Lock()
	t.request++
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(t.request))
	t.mu.Unlock()
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	problems, err := t.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	if err := problems.Close(); err != nil { // Nothing is ever sent on it.
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := t.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	return t.pipe(data, problems), nil
}

// pipe gives a stream the deadlines that a net.Conn has. Whichever way a
// connection ends, both its ends see no more than that it ended.
func (t *tunnel) pipe(data, problems httpstream.Stream) net.Conn {
	near, far := net.Pipe()
	go func() {
		_, _ = io.Copy(far, data)
		_ = far.Close()
		_, _ = io.Copy(io.Discard, problems)
	}()
	go func() {
		_, _ = io.Copy(data, far)
		_ = data.Close()
		t.RemoveStreams(data, problems)
	}()
	return near
}
