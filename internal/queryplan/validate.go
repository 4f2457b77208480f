// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "context"

// validations are what fails where a plan's rule does not hold.
var validations = map[string]struct {
	code    string
	message func(data value, context *object) string
}{
	"RELATION_VIOLATION": {"P2014", func(_ value, of *object) string {
		return "The change you are trying to make would violate the required relation '" + of.text("relation") +
			"' between the `" + of.text("modelA") + "` and `" + of.text("modelB") + "` models."
	}},
	"MISSING_RECORD": {"P2025", func(_ value, of *object) string {
		return missingRecords + "No record was found for " + of.text("operation") + "."
	}},
	"MISSING_RELATED_RECORD": {"P2025", func(_ value, of *object) string {
		hint := ""
		if needed := of.get("neededFor"); !isNullish(needed) && needed != "" {
			hint = " (needed to " + textOf(needed) + ")"
		}
		return missingRecords + "No '" + of.text("model") + "' record" + hint + " was found for " + of.text("operation") +
			" on " + of.text("relationType") + " relation '" + of.text("relation") + "'."
	}},
	"INCOMPLETE_CONNECT_INPUT": {"P2025", func(data value, of *object) string {
		return missingRecords + "Expected " + of.text("expectedRows") + " records to be connected, found only " + countText(data) + "."
	}},
	"INCOMPLETE_CONNECT_OUTPUT": {"P2018", func(data value, of *object) string {
		return "The required connected records were not found. Expected " + of.text("expectedRows") +
			" records to be connected after connect operation on " + of.text("relationType") + " relation '" +
			of.text("relation") + "', found " + countText(data) + "."
	}},
	"RECORDS_NOT_CONNECTED": {"P2017", func(_ value, of *object) string {
		return "The records for relation `" + of.text("relation") + "` between the `" + of.text("parent") + "` and `" +
			of.text("child") + "` models are not connected."
	}},
}

const missingRecords = "An operation failed because it depends on one or more records that were required but not found. "

func (o *object) text(key string) string { return textOf(o.get(key)) }

func countText(data value) string {
	if many, ok := data.(*list); ok {
		return numberText(float64(len(many.items)))
	}
	return textOf(data)
}

func (n *validateNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	for _, rule := range n.rules {
		if rule.holds(v) {
			continue
		}
		kind := validations[n.error.identifier]
		return nil, &Error{Status: 400, Code: kind.code, Message: kind.message(v, n.error.context), Meta: n.error.context}
	}
	return v, nil
}

func (r rule) holds(v value) bool {
	switch r.kind {
	case "rowCountEq":
		return rowCount(v) == r.count
	case "rowCountNeq":
		return rowCount(v) != r.count
	case "affectedRowCountEq":
		return v == r.count
	}
	return false // never
}

func rowCount(v value) float64 {
	switch known := v.(type) {
	case *list:
		return float64(len(known.items))
	case nil:
		return 0
	}
	return 1
}
