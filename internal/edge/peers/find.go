// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How long what the Service resolves to is used. An address may be given to another pod
// soon after a replica has gone. Who asks for what is not there does not make us ask the
// DNS more often than once in a while.
const (
	fresh       = 5 * time.Second
	pause       = time.Second
	lastResort  = 30 * time.Second // While the DNS does not answer.
	lookUpLimit = 3 * time.Second
	mostPeers   = 256
)

// known are the addresses that the Service had when it was last asked.
type known struct {
	asking sync.Mutex // One asks at a time.

	mu        sync.Mutex
	addresses []netip.Addr
	at, tried time.Time
	err       error
}

// get returns the addresses, and whether they are too old to say that one is not there.
func (k *known) get(enough time.Duration) (addresses []netip.Addr, current bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.at) < enough || time.Since(k.tried) < pause {
		if time.Since(k.at) < lastResort {
			return k.addresses, true, nil
		}
		return nil, true, k.err
	}
	return nil, false, nil
}

func (k *known) set(addresses []netip.Addr, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried = time.Now()
	if err == nil {
		k.addresses, k.at = addresses, k.tried
	}
	k.err = err
}

// addresses are the peers', as of so long ago or later. This replica is none of them.
func (p *Peers) addresses(ctx context.Context, enough time.Duration) ([]netip.Addr, error) {
	if addresses, current, err := p.known.get(enough); current {
		return addresses, err
	}
	p.known.asking.Lock()
	defer p.known.asking.Unlock()
	if addresses, current, err := p.known.get(enough); current { // Another one has asked meanwhile.
		return addresses, err
	}
	// Others wait for it, too, so it does not end with this request.
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), lookUpLimit)
	defer end()
	p.known.set(p.ask(ctx))
	addresses, _, err := p.known.get(lastResort)
	return addresses, err
}

func (p *Peers) ask(ctx context.Context) ([]netip.Addr, error) {
	found, err := p.options.LookUp(ctx, p.options.Service)
	if err != nil {
		return nil, fmt.Errorf("looking for the gateway's replicas: %w", err)
	}
	addresses := make([]netip.Addr, 0, len(found))
	for _, address := range found {
		if address = address.Unmap().WithZone(""); address != p.options.Self {
			addresses = append(addresses, address)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	return addresses[:min(len(addresses), mostPeers)], nil
}

// isPeer is whether an address is a peer's. One that is not known is looked for again.
func (p *Peers) isPeer(ctx context.Context, address netip.Addr) (bool, error) {
	for _, enough := range []time.Duration{fresh, pause} {
		addresses, err := p.addresses(ctx, enough)
		if err != nil || slices.Contains(addresses, address) {
			return err == nil, err
		}
	}
	return false, nil
}

// find is the address of a peer.
func (p *Peers) find(ctx context.Context, name string) (netip.Addr, error) {
	address, ok := addressOf(name)
	if !ok {
		return address, ErrUnknown
	}
	found, err := p.isPeer(ctx, address)
	switch {
	case err != nil:
		return address, fmt.Errorf("%w: %w", ErrLost, err)
	case !found:
		return address, ErrUnknown
	}
	return address, nil
}
