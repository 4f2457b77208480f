// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && nodes

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/poolfleet/poolfleet/hack/e2e/internal/install"
)

// secondNode is one that the local cluster has for a test.
type secondNode struct {
	*world
	name string
	// link is this machine's end of its cable.
	link string
}

// addNode adds a node that takes poolers alone. In the end the cluster is started
// anew without it: that is the only way in which it loses a node. Objects and
// images stay.
func (w *world) addNode(t *testing.T) *secondNode {
	t.Helper()
	state := filepath.Dir(os.Getenv("KUBECONFIG"))
	var cluster struct {
		Number int
		Nodes  []any
	}
	text, err := os.ReadFile(filepath.Join(state, "cluster.json"))
	if err == nil {
		err = json.Unmarshal(text, &cluster)
	}
	if err != nil {
		t.Fatalf("reading what the local cluster consists of: %v", err)
	}
	before := len(cluster.Nodes)
	n := &secondNode{world: w, name: fmt.Sprintf("node-%d", before), link: fmt.Sprintf("pfleet%dn%d", cluster.Number, before)}
	run := func(ctx context.Context, command string, args ...string) error {
		return w.localcluster(ctx, command, cluster.Number, args...)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(run(ctx, "down"), run(ctx, "up", "--nodes", strconv.Itoa(before)), w.awaitNode(ctx, n.name, false)); err != nil {
			t.Errorf("taking the second node away: %v", err)
		}
	})
	if err := run(t.Context(), "up", "--nodes", strconv.Itoa(before+1)); err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}
	w.change(t, node, func() { node.Spec.Taints = append(node.Spec.Taints, poolersOnly) })
	if err := run(t.Context(), "load-image", w.chart.Images.Pooler.Archive); err != nil {
		t.Fatal(err)
	}
	return n
}

// localcluster runs a command of it on the cluster of KUBECONFIG.
func (w *world) localcluster(ctx context.Context, command string, number int, args ...string) error {
	program, err := install.FindTool(top(".cache/bin"), "localcluster")
	if err != nil {
		return err
	}
	flags := []string{
		command, "--number", strconv.Itoa(number), "--state", filepath.Dir(os.Getenv("KUBECONFIG")),
		"--node-root", top(".cache/rootfs/node"), "--kube", top(".cache/bin/localkube"), "--pause", top(".cache/images/pause.tar"),
	}
	_, err = w.tools.Run(ctx, "", program, append(flags, args...)...)
	return err
}

// cut takes the node off the network, for as long as the test runs at most.
func (n *secondNode) cut(t *testing.T) {
	t.Helper()
	if err := setLink(n.link, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := setLink(n.link, syscall.IFF_UP); err != nil {
			t.Error(err)
		}
	})
}

// mend puts the node back.
func (n *secondNode) mend(t *testing.T) {
	t.Helper()
	if err := errors.Join(setLink(n.link, syscall.IFF_UP), n.awaitNode(t.Context(), n.name, true)); err != nil {
		t.Fatal(err)
	}
}

// setLink sets a link up (IFF_UP) or down (0). Source: rtnetlink(7), RTM_NEWLINK, and
// netlink(7), NLMSG_ERROR.
func setLink(name string, flags uint32) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening a netlink socket: %w", err)
	}
	defer func() { _ = syscall.Close(socket) }()
	order := binary.NativeEndian
	request := order.AppendUint32(nil, syscall.SizeofNlMsghdr+syscall.SizeofIfInfomsg)
	request = order.AppendUint16(request, syscall.RTM_NEWLINK)
	request = order.AppendUint16(request, syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	request = append(request, make([]byte, 12)...) // Sequence, sender, and a family and type that do not matter.
	request = order.AppendUint32(request, uint32(link.Index))
	request = order.AppendUint32(request, flags)
	request = order.AppendUint32(request, syscall.IFF_UP)
	if err := syscall.Sendto(socket, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return fmt.Errorf("setting link %s: %w", name, err)
	}
	answer := make([]byte, 4096)
	length, _, err := syscall.Recvfrom(socket, answer, 0)
	if err != nil || length < syscall.SizeofNlMsghdr+4 {
		return fmt.Errorf("setting link %s: the kernel answered with %d bytes, %w", name, length, err)
	}
	if code := int32(order.Uint32(answer[syscall.SizeofNlMsghdr:])); code != 0 {
		return fmt.Errorf("setting link %s: %w", name, syscall.Errno(-code))
	}
	return nil
}
