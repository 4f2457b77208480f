// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "context"

// Records that no database gives: what plans for others begin with, and what tests of
// plans do. PostgreSQL gives a created row back itself.

// eval has no identifier that the server made up: PostgreSQL gives none.
func (n *initializeRecordNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	if _, err := n.of.eval(ctx, x, s); err != nil {
		return nil, err
	}
	record := newObject()
	for _, change := range n.fields {
		var v value = undefined{}
		if change.kind != "lastInsertId" {
			var err error
			if v, err = change.of.evaluate(x, s); err != nil {
				return nil, err
			}
		}
		record.set(change.field, v)
	}
	return record, x.spend(len(n.fields))
}

func (n *mapRecordNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	record := newObject()
	if v != nil {
		if record, err = recordOf(v); err != nil {
			return nil, err
		}
	}
	for _, change := range n.fields {
		operand, err := change.of.evaluate(x, s)
		if err != nil {
			return nil, err
		}
		if change.kind != "set" {
			if operand, err = calculate(change.kind, record.get(change.field), operand); err != nil {
				return nil, err
			}
		}
		record.set(change.field, operand)
	}
	return record, x.spend(len(n.fields))
}

func recordOf(v value) (*object, error) {
	switch known := v.(type) {
	case *object:
		return known, nil
	case *list, date, octets, *tagged:
		return newObject(), nil // Objects to JavaScript, without a field that a plan names.
	case nil:
		return nil, failure("Expected object, got object")
	}
	return nil, failure("Expected object, got %s", typeOf(v))
}

func calculate(kind string, left, right value) (value, error) {
	a, err := numberOf(left)
	if err != nil {
		return nil, err
	}
	b, err := numberOf(right)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "subtract":
		return a - b, nil
	case "multiply":
		return a * b, nil
	case "divide":
		if b == 0 {
			return nil, nil
		}
		return a / b, nil
	}
	return a + b, nil
}
