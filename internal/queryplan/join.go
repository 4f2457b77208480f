// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "context"

func (n *joinNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	parent, err := n.parent.eval(ctx, x, s)
	if parent == nil || err != nil {
		return nil, err
	}
	children := make([]value, len(n.children))
	for i, child := range n.children {
		if children[i], err = child.of.eval(ctx, x, s); err != nil {
			return nil, err
		}
	}
	parents := make([]*object, 0, len(asList(parent)))
	for _, item := range asList(parent) {
		record, err := recordOf(item)
		if err != nil {
			return nil, err
		}
		parents = append(parents, record)
	}
	for i := range n.children {
		if err := x.attach(parents, asList(children[i]), &n.children[i], n.strict); err != nil {
			return nil, err
		}
	}
	return parent, nil
}

// attach puts every child into the records that it belongs to.
func (x *execution) attach(parents []*object, children []value, join *joinChild, strict bool) error {
	byKey := make(map[string][]*object, len(parents))
	for _, parent := range parents {
		key, err := x.recordKey(parent, join.parentKeys, nil)
		if err != nil {
			return err
		}
		byKey[key] = append(byKey[key], parent)
		if join.atMostOne {
			parent.set(join.parentField, nil)
		} else {
			parent.set(join.parentField, &list{})
		}
	}
	var casts []func(value) value
	if !strict {
		casts = inferCasts(parents, join.parentKeys)
	}
	for _, child := range children {
		if child == nil {
			continue
		}
		key, err := x.recordKey(child, join.childKeys, casts)
		if err != nil {
			return err
		}
		if err := x.spend(2 * len(byKey[key])); err != nil {
			return err
		}
		for _, parent := range byKey[key] {
			join.put(parent, child)
		}
	}
	return nil
}

func (j *joinChild) put(parent *object, child value) {
	if many, ok := parent.get(j.parentField).(*list); ok && !j.atMostOne {
		many.items = append(many.items, child)
		return
	}
	parent.set(j.parentField, child)
}

// inferCasts finds for every key the first parent that has it, and takes its type.
func inferCasts(parents []*object, keys []string) []func(value) value {
	casts := make([]func(value) value, len(keys))
	for i, key := range keys {
		for _, parent := range parents {
			if v := parent.get(key); !isNullish(v) {
				casts[i] = castTo(v)
				break
			}
		}
	}
	return casts
}

func (n *diffNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	from, err := n.from.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	to, err := n.to.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	gone := map[string]bool{}
	for _, item := range asList(to) {
		key, err := n.key(x, item)
		if err != nil {
			return nil, err
		}
		gone[key] = true
	}
	left := &list{}
	for _, item := range asList(from) {
		key, err := n.key(x, item)
		if err != nil {
			return nil, err
		}
		if !gone[key] {
			left.items = append(left.items, item)
		}
	}
	return left, nil
}

func (n *diffNode) key(x *execution, item value) (string, error) {
	switch {
	case item == nil:
		return "", nil // No record's key is empty.
	case n.fields == nil:
		return x.wholeKey(item)
	}
	return x.recordKey(item, n.fields, nil)
}
