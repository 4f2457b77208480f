// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

// completionTime is how long a person who pressed the tab key waits at most.
const completionTime = 3 * time.Second

// completePools names the pools of the namespace, for a command whose first argument
// is a pool.
func (e *environment) completePools(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.complete(cmd, &poolv1.ConnectionPoolList{}, typed, func(s *session) []client.ListOption {
		return []client.ListOption{client.InNamespace(s.namespace)}
	})
}

// completeUpstreams names the servers.
func (e *environment) completeUpstreams(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.complete(cmd, &poolv1.UpstreamList{}, typed, nil)
}

func (e *environment) completeNamespaces(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return e.complete(cmd, &corev1.NamespaceList{}, typed, nil)
}

// complete names the objects of a kind that begin as typed. A cluster that does not
// answer completes nothing: there is nowhere to say why.
func (e *environment) complete(cmd *cobra.Command, list client.ObjectList, typed string, options func(*session) []client.ListOption) ([]string, cobra.ShellCompDirective) {
	s, err := e.session()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	var chosen []client.ListOption
	if options != nil {
		chosen = options(s)
	}
	if err := s.client.List(ctx, list, chosen...); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, name := range namesIn(list) {
		if strings.HasPrefix(name, typed) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func namesIn(list client.ObjectList) []string {
	var names []string
	switch list := list.(type) {
	case *poolv1.ConnectionPoolList:
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
	case *poolv1.UpstreamList:
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
	case *corev1.NamespaceList:
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
	}
	return names
}
