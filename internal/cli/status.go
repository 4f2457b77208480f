// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
)

func newStatusCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:               "status [POOL]",
		Short:             "The fleet at a glance, or one pool's poolers",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: env.completePools,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := env.session()
			if err != nil {
				return err
			}
			var pools poolv1.ConnectionPoolList
			if err := s.client.List(cmd.Context(), &pools, client.InNamespace(s.namespace)); err != nil {
				return fmt.Errorf("listing ConnectionPools: %w", err)
			}
			return env.print(pools.Items, func(w io.Writer) error {
				for _, pool := range pools.Items {
					fmt.Fprintln(w, pool.Name)
				}
				return nil
			})
		},
	}
}
