// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// visit is a request, and what comes of it.
type visit struct {
	*http.Request
	Session
	w     http.ResponseWriter
	trace *queryplan.Trace
	// read is the body, where it was read and another replica may need it.
	read []byte
	// object is what is answered where there is no error, in JSON.
	object []byte
}

// readBody reads all of the body, which also lets net/http notice that a client is gone.
func (h *Handler) readBody(v *visit) ([]byte, error) {
	controller := http.NewResponseController(v.w)
	_ = controller.SetReadDeadline(time.Now().Add(h.Limits.Timeout)) // A recorder of a test has none.
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.Body, int64(h.Limits.RequestBytes)))
	if err == nil { // Else the server would wait for the rest of the body before it answers.
		_ = controller.SetReadDeadline(time.Time{})
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return nil, h.requestTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, h.tooSlow()
	case err != nil:
		return nil, &queryplan.Error{Status: http.StatusBadRequest, Code: codeServer, Message: "the request ends before its body does"}
	}
	return body, nil
}

// answer sends what came of a request, with the telemetry that it asks for.
func (h *Handler) answer(v *visit, err error) {
	if errors.Is(err, errForwarded) {
		return
	}
	status, object := http.StatusOK, v.object
	if err != nil {
		said, after := h.errorOf(err)
		if said.Status == statusGone {
			v.w.WriteHeader(said.Status)
			return
		}
		if after > 0 {
			v.w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
		}
		status = said.Status
		if object, err = json.Marshal(said); err != nil {
			status, object = http.StatusInternalServerError, []byte(`{"code":"P6000","error":"the gateway can not say what is wrong"}`)
		}
	}
	object = extended(object, v.trace.Extensions())
	v.w.Header().Set("Content-Type", "application/json")
	v.w.Header().Set("Content-Length", strconv.Itoa(len(object)))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(object) // Who is gone needs no answer.
}

// extended adds a member to an object in JSON.
func extended(object, extensions []byte) []byte {
	if extensions == nil {
		return object
	}
	object = object[:len(object)-1]
	if len(object) > 1 {
		object = append(object, ',')
	}
	return append(append(append(object, `"extensions":`...), extensions...), '}')
}
