// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"context"
	"math"
	"slices"
	"unicode/utf16"
)

func (n *processNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	return (&processing{x, s}).process(v, n.operations)
}

// processing does a node's operations in memory.
type processing struct {
	x *execution
	s *scope
}

func (p *processing) process(v value, of *operations) (value, error) {
	switch known := v.(type) {
	case nil, undefined:
		return v, nil
	case string:
		parsed, err := p.x.parseJSON(known)
		if err != nil {
			return nil, err
		}
		if _, text := parsed.(string); text {
			return nil, failure("Expected an array or an object, got: string")
		}
		return p.process(parsed, of)
	case *list:
		return p.many(known, of)
	case *object:
		return p.one(known, of)
	}
	return v, nil
}

func (p *processing) one(record *object, of *operations) (value, error) {
	if of.paginated {
		cursor, err := p.cursor(of)
		if err != nil {
			return nil, err
		}
		if of.skip != nil && *of.skip > 0 || of.take != nil && *of.take == 0 || cursor != nil && !keysMatch(record, cursor) {
			return nil, nil
		}
	}
	return record, p.nested(record, of)
}

func (p *processing) nested(record *object, of *operations) error {
	if err := p.x.spend(len(of.nested)); err != nil {
		return err
	}
	for _, nested := range of.nested {
		processed, err := p.process(record.get(nested.field), nested.operations)
		if err != nil {
			return err
		}
		record.set(nested.field, processed)
	}
	return nil
}

func (p *processing) many(of *list, ops *operations) (value, error) {
	records := of.items
	var err error
	if ops.hasDistinct {
		if records, err = p.distinct(records, slices.Concat(ops.distinct, ops.linkingFields)); err != nil {
			return nil, err
		}
	}
	if ops.paginated {
		if records, err = p.paginate(records, ops); err != nil {
			return nil, err
		}
	}
	if err := p.x.spend(len(records)); err != nil {
		return nil, err
	}
	if ops.reverse {
		records = slices.Clone(records)
		slices.Reverse(records)
	}
	if len(ops.nested) > 0 {
		for _, item := range records {
			record, err := recordOf(item)
			if err == nil {
				err = p.nested(record, ops)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return &list{records}, nil
}

func (p *processing) distinct(records []value, fields []string) ([]value, error) {
	seen := map[string]bool{}
	var out []value
	for _, record := range records {
		key, err := p.x.recordKey(record, fields, nil)
		if err != nil {
			return nil, err
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, record)
		}
	}
	return out, nil
}

// paginate takes a page of the records, or of each parent's, ordered by the parent's key.
func (p *processing) paginate(records []value, of *operations) ([]value, error) {
	cursor, err := p.cursor(of)
	if err != nil {
		return nil, err
	}
	if !of.linked {
		return p.page(records, cursor, of)
	}
	groups := map[string][]value{}
	for _, record := range records {
		key, err := p.x.recordKey(record, of.linkingFields, nil)
		if err != nil {
			return nil, err
		}
		groups[key] = append(groups[key], record)
	}
	keys := make([]string, 0, len(groups))
	for key := range groups {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareText)
	var out []value
	for _, key := range keys {
		page, err := p.page(groups[key], cursor, of)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
	}
	return out, nil
}

// compareText orders texts by their UTF-16, as JavaScript does.
func compareText(a, b string) int {
	if isASCII(a) && isASCII(b) {
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (p *processing) page(records []value, cursor *object, of *operations) ([]value, error) {
	start := 0.0
	if cursor != nil {
		if err := p.x.spend(len(records) * len(cursor.values)); err != nil {
			return nil, err
		}
		at := slices.IndexFunc(records, func(record value) bool {
			known, ok := record.(*object)
			return ok && keysMatch(known, cursor)
		})
		if at < 0 {
			return nil, nil
		}
		start = float64(at)
	}
	end := math.Inf(1)
	if of.skip != nil {
		start += *of.skip
	}
	if of.take != nil {
		end = start + *of.take
	}
	first, last := sliceIndex(start, len(records)), sliceIndex(end, len(records))
	if first >= last {
		return nil, nil
	}
	return records[first:last:last], nil
}

// sliceIndex is where JavaScript's slice begins or ends: from the end if negative.
func sliceIndex(at float64, length int) int {
	if at < 0 {
		at += float64(length)
	}
	return int(max(0, min(math.Trunc(at), float64(length))))
}

// cursor is the cursor's values; nil without one.
func (p *processing) cursor(of *operations) (*object, error) {
	if !of.hasCursor {
		return nil, nil
	}
	cursor := newObject()
	for _, key := range of.cursor {
		v, err := key.of.evaluate(p.x, p.s)
		if err != nil {
			return nil, err
		}
		cursor.set(key.field, v)
	}
	return cursor, nil
}
