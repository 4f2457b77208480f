// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

// commands are the subcommands, in the order of their names.
func commands(env *environment) []*cobra.Command {
	return []*cobra.Command{
		newBudgetCommand(env),
		newDebugBundleCommand(env),
		newDoctorCommand(env),
		newEnvCommand(env),
		newPauseCommand(env),
		newPlanCommand(env),
		newPsqlCommand(env),
		newResumeCommand(env),
		newRotateCommand(env),
		newStatusCommand(env),
		newTopCommand(env),
	}
}
