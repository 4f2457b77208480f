// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

// SQLSTATEs of what the gateway itself says (PostgreSQL documentation, Appendix A).
const (
	codeCompletion           = "00000"
	codeConnectionRejected   = "08004"
	codeConnectionFailure    = "08006"
	codeProtocolViolation    = "08P01"
	codeUnsupported          = "0A000"
	codeEncoding             = "22021"
	codeInvalidAuthorization = "28000"
	codeInvalidPassword      = "28P01"
	codeTransactionEnded     = "2D000"
	codeUnknownDatabase      = "3D000"
	codeTooMany              = "53300"
	codeLimit                = "54000"
	codeCanceled             = "57014"
	codeShutdown             = "57P01"
	codeNotNow               = "57P03"
	codeIdle                 = "57P05"
	codeInternal             = "XX000"
)
