// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"encoding/json"
	"fmt"
)

// admissionProblem holds the answer to budget.AdmissionProbe against the server's
// settings. It is empty if connections can count themselves in there.
func admissionProblem(a answer, o Observation) string {
	if a.refusal != nil {
		return "the server refuses the query that connections count themselves in with (SQLSTATE " + sqlState(a.refusal.Code) +
			"): let the role execute pg_stat_get_activity, pg_stat_get_wal_senders and current_setting, as every role may by default"
	}
	var count, limit int64
	var mayEnd, mayRun bool
	if err := json.Unmarshal(a.value, &[]any{&count, &limit, &mayEnd, &mayRun}); err != nil {
		return "the query that connections count themselves in with has no answer that makes sense"
	}
	switch {
	case count < 1:
		return fmt.Sprintf("the query that connections count themselves in with saw %d, where it must have seen its own", count)
	case limit != int64(o.MaxConnections):
		return fmt.Sprintf("the query that connections count themselves in with reads a max_connections of %d, where the server's settings say %d", limit, o.MaxConnections)
	case !mayEnd:
		return "the role may not end its own connections, which is how one too many goes: GRANT EXECUTE ON FUNCTION pg_terminate_backend to it"
	case !mayRun:
		return "the role may not run the block that connections count themselves in with: GRANT USAGE ON LANGUAGE plpgsql to it"
	}
	return ""
}
