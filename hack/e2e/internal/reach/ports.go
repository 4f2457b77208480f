// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// Source ports of connections to Services: below those at which tests listen
// (testenv.FreePort), and those that Kubernetes and the kernel give.
const firstPort, ports = 10000, 10000

// lastPort counts the ports handed out.
var lastPort atomic.Uint32

// dialInTurn connects from one source port after the other. The kernel remembers for two
// minutes (net.netfilter.nf_conntrack_tcp_timeout_time_wait) to which pod it has sent a
// connection, and sends the next from the same port there too, also where that pod has
// ended since. The ports that it gives by itself repeat sooner.
func dialInTurn(ctx context.Context, network, address string) (conn net.Conn, err error) {
	for range ports {
		port := firstPort + int(lastPort.Add(1)%ports)
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}}
		conn, err = dialer.DialContext(ctx, network, address)
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return conn, err
}
