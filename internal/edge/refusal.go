// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import "time"

// Refusal is why the gateway does not do what a client asks, in PostgreSQL's terms.
// Nothing in it is a secret: it is sent to the client as it is.
type Refusal struct {
	// Status is HTTP's.
	Status int
	// Code is a SQLSTATE (PostgreSQL documentation, Appendix A).
	Code string
	// Message says what is wrong, Hint what to do about it.
	Message string
	Hint    string
	// RetryAfter is when it may be worth another try; 0 where it is not known.
	RetryAfter time.Duration
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }
