// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/http"
)

// EndWebSocket tells of a WebSocket that has ended; see WebSocket.Ended.
func (s *Server) EndWebSocket(end WebSocketEnd) {
	code := end.Code
	if code == "" {
		code = codeCompletion
	}
	s.tell(context.Background(), &visit{
		kind: kindWebSocket, method: http.MethodGet, pool: end.Pool, caller: end.Caller, code: code,
		received: end.Received, sent: end.Sent, duration: end.Duration,
	})
}
