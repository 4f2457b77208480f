// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"slices"
	"strings"
)

// DefaultClusterDomain is the domain of nearly every cluster.
const DefaultClusterDomain = "cluster.local"

// ServiceNames are the names under which clients reach a Service: within its
// namespace, from others, with the cluster's domain and from outside. An empty
// domain or external name adds none.
func ServiceNames(service, namespace, domain, external string) []string {
	inside := service + "." + namespace + ".svc"
	names := []string{service, service + "." + namespace, inside, inside + "." + DefaultClusterDomain}
	if domain != "" {
		names = append(names, inside+"."+domain)
	}
	if external != "" {
		names = append(names, external)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ClusterDomain finds the cluster's domain in the resolv.conf of a pod of a
// namespace; empty where it does not stand there. The kubelet searches
// <namespace>.svc.<domain> first.
// Source: Kubernetes documentation, DNS for Services and Pods.
func ClusterDomain(resolvConf, namespace string) string {
	for line := range strings.Lines(resolvConf) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		for _, field := range fields[1:] {
			if domain, found := strings.CutPrefix(field, namespace+".svc."); found && namespace != "" {
				return strings.TrimSuffix(domain, ".")
			}
		}
	}
	return ""
}
