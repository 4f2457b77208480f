// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"fmt"
)

// Blocked is an error that a person can read in a pool's status: it says which
// condition is False, for which reason, and in words what to do. The message ends
// without a full stop and holds no secret and nothing that differs from one pass
// to the next.
type Blocked struct {
	Condition string
	Reason    string
	Message   string
}

// Block makes a Blocked.
func Block(condition, reason, format string, args ...any) *Blocked {
	return &Blocked{Condition: condition, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message.
func (b *Blocked) Error() string { return b.Message }

// AsBlocked returns the Blocked in err's chain, or nil.
func AsBlocked(err error) *Blocked {
	b, _ := errors.AsType[*Blocked](err)
	return b
}
