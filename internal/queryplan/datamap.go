// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"context"
)

func (n *dataMapNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	mapper := dataMapper{x: x, enums: n.enums}
	switch n.structure.kind {
	case "affectedRows":
		if _, ok := v.(float64); !ok {
			return nil, mapper.fail("Expected an affected rows count, got: %s (%s)", typeOf(v), textOf(v))
		}
		return newObject().with("count", v), nil
	case "object":
		return mapper.records(v, n.structure)
	}
	return mapper.scalar(v, "<result>", -1, n.structure)
}

// dataMapper brings records into the form of the client's answer.
type dataMapper struct {
	x     *execution
	enums map[string]map[string]value
}

// fail is an error about data that is not as the plan has it.
func (m *dataMapper) fail(format string, args ...any) error {
	err := failure(format, args...)
	if m.x.dialect.inputErrors {
		err.Status, err.Code, err.Meta = 400, "P2023", struct{}{}
	}
	return err
}

func (m *dataMapper) records(v value, of *resultNode) (value, error) {
	switch known := v.(type) {
	case nil:
		return nil, nil
	case *list:
		return m.list(known, of)
	case string:
		parsed, err := m.x.parseJSON(known)
		if err != nil {
			if isLimit(err) {
				return nil, err
			}
			return nil, m.fail("Expected an array or object, got a string that is not valid JSON")
		}
		if _, again := parsed.(string); again {
			return nil, m.fail("Expected an array or object, got a string that is not valid JSON")
		}
		return m.records(parsed, of)
	case undefined, bool, float64:
		return nil, m.fail("Expected an array or an object, got: %s", typeOf(v))
	}
	return m.record(v, of)
}

func (m *dataMapper) list(many *list, of *resultNode) (value, error) {
	mapped := &list{make([]value, 0, len(many.items))}
	for _, item := range many.items {
		if item == nil && of.skipNulls {
			continue
		}
		record, err := m.record(item, of)
		if err != nil {
			return nil, err
		}
		mapped.items = append(mapped.items, record)
	}
	return mapped, nil
}

func (m *dataMapper) record(v value, of *resultNode) (value, error) {
	switch v.(type) {
	case undefined, bool, float64, string:
		return nil, m.fail("Expected an object, but got '%s'", typeOf(v))
	case nil:
		return nil, failure("Cannot convert undefined or null to object")
	}
	record, err := recordOf(v)
	if err != nil {
		return nil, err
	}
	if err := m.x.spend(1 + len(of.fields)); err != nil {
		return nil, err
	}
	mapped := &object{shape: of.shape, values: make([]value, len(of.fields))}
	for i, field := range of.fields {
		if mapped.values[i], err = m.field(record, field); err != nil {
			return nil, err
		}
	}
	return mapped, nil
}

func (m *dataMapper) field(record *object, of resultField) (value, error) {
	switch of.kind {
	case "object":
		if of.serialized == nil {
			return m.records(record, of.resultNode)
		}
		if !record.has(*of.serialized) {
			return nil, m.missing("Object", of.name, of.source, record)
		}
		return m.records(record.get(*of.serialized), of.resultNode)
	case "field":
		if !record.has(of.dbName) {
			return nil, m.missing("Value", of.dbName, of.source, record)
		}
		return m.value(record.get(of.dbName), of.resultNode)
	}
	return nil, m.fail("Unexpected 'AffectedRows' node in data mapping for field '%s'", of.name)
}

// missing quotes the plan and the data, as far as they are short.
func (m *dataMapper) missing(kind, name string, source, record *object) error {
	node, data := m.quote(source), m.quote(record)
	return m.fail("Missing data field (%s): '%s'; node: %s; data: %s", kind, name, node, data)
}

// maxQuote bounds what a message quotes, in bytes.
const maxQuote = 16 << 10

func (m *dataMapper) quote(v value) string {
	writer := jsonWriter{depth: m.x.limits.Depth, limit: maxQuote, leaf: plainLeaf}
	if err := writer.write(v); err != nil {
		return "{}"
	}
	return string(writer.out)
}

func (m *dataMapper) value(v value, of *resultNode) (value, error) {
	if of.arity != "list" {
		if v == nil {
			return nil, nil
		}
		return m.scalar(v, of.dbName, -1, of)
	}
	if v == nil {
		return &list{}, nil
	}
	many, ok := v.(*list)
	if !ok {
		return nil, failure("values.map is not a function")
	}
	if err := m.x.spend(len(many.items)); err != nil {
		return nil, err
	}
	mapped := &list{make([]value, len(many.items))}
	for i, item := range many.items {
		var err error
		if mapped.items[i], err = m.scalar(item, of.dbName, i, of); err != nil {
			return nil, err
		}
	}
	return mapped, nil
}
