// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/poolfleet/poolfleet/internal/edge"
	"github.com/poolfleet/poolfleet/internal/edge/accelerate/cache"
	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// Codes of Prisma Accelerate's own errors (Prisma documentation, Error message
// reference, Prisma Accelerate).
const (
	codeServer            = "P6000"
	codeInvalidSource     = "P6001"
	codeUnauthorized      = "P6002"
	codeTimeout           = "P6004"
	codeInvalidParameters = "P6005"
	codeVersion           = "P6006"
	codeConnection        = "P6008"
	codeResultTooLarge    = "P6009"
	codeTooMany           = "P5011"
	codeTransaction       = "P2028"
)

// errorOf is what a client is told, and when to try again, if that is known.
func (h *Handler) errorOf(err error) (*queryplan.Error, time.Duration) {
	refusal, refused := errors.AsType[*edge.Refusal](err)
	malformed, unreadable := errors.AsType[cache.Malformed](err)
	switch {
	case unreadable:
		return &queryplan.Error{Status: http.StatusBadRequest, Code: codeInvalidParameters, Message: malformed.Error()}, 0
	case errors.Is(err, edge.ErrResultTooLarge):
		return h.resultTooLarge(), 0
	case errors.Is(err, context.DeadlineExceeded):
		return h.tooSlow(), 0
	case errors.Is(err, context.Canceled):
		return &queryplan.Error{Status: statusGone, Code: codeServer, Message: "the client has gone"}, 0
	case refused:
		return fromRefusal(refusal), refusal.RetryAfter
	}
	return queryplan.ErrorOf(err), 0
}

func fromRefusal(refusal *edge.Refusal) *queryplan.Error {
	message := refusal.Message
	if refusal.Hint != "" {
		message += ". " + refusal.Hint
	}
	return &queryplan.Error{Status: refusal.Status, Code: codeOf(refusal.Status), Message: message}
}

func codeOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return codeInvalidSource
	case http.StatusUnauthorized, http.StatusForbidden:
		return codeUnauthorized
	case http.StatusTooManyRequests:
		return codeTooMany
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codeConnection
	}
	return codeServer
}

// The official executor has status 422 for what goes beyond a limit.

func (h *Handler) requestTooLarge() *queryplan.Error {
	return &queryplan.Error{
		Status: http.StatusRequestEntityTooLarge, Code: codeServer,
		Message: fmt.Sprintf("the request has more than %d bytes, as many as the gateway takes: "+
			"send it in parts, or raise the gateway's --max-request-bytes", h.Limits.RequestBytes),
	}
}

func (h *Handler) resultTooLarge() *queryplan.Error {
	return &queryplan.Error{
		Status: http.StatusUnprocessableEntity, Code: codeResultTooLarge,
		Message: fmt.Sprintf("the result has more than %d bytes, as many as the gateway returns: "+
			"ask for less with take or select, or raise the gateway's --max-result-bytes", h.Limits.ResultBytes),
	}
}

func (h *Handler) tooSlow() *queryplan.Error {
	return &queryplan.Error{
		Status: http.StatusUnprocessableEntity, Code: codeTimeout,
		Message: fmt.Sprintf("the request took longer than %v, and was cancelled: "+
			"make it faster, or raise the gateway's --request-timeout", h.Limits.Timeout),
	}
}
