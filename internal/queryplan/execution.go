// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"context"
	"slices"
	"time"
)

// execution is one run of a plan.
type execution struct {
	conn          Conn
	inTransaction bool
	trace         *Trace
	comment       string
	limits        Limits
	dialect       dialect
	now           date
	shapes        map[string]*shape

	work, statements, rows int
}

// scope holds what names stand for: bindings, and outermost the request's parameters.
type scope struct {
	params *object
	outer  *scope
	bound  map[string]value
}

func (x *execution) run(ctx context.Context, request *Request) ([]byte, error) {
	result, err := request.plan.eval(ctx, x, &scope{params: request.params})
	if err != nil {
		return nil, err
	}
	return x.answer(result)
}

// spend takes from what the plan may still do.
func (x *execution) spend(work int) error {
	if x.work -= work; x.work < 0 {
		return errTooMuchWork
	}
	return nil
}

// find is what the name stands for; undefined if nothing.
func (x *execution) find(s *scope, name string) (value, error) {
	for ; s.outer != nil; s = s.outer {
		if err := x.spend(1); err != nil {
			return nil, err
		}
		if v, ok := s.bound[name]; ok {
			return v, nil
		}
	}
	return s.params.get(name), nil
}

// instant is the moment that all of a plan's now() are.
func (x *execution) instant() date {
	if !x.now.valid {
		x.now = dateAt(time.Now())
	}
	return x.now
}

func (n *valueNode) eval(_ context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.evaluate(x, s)
	if many, ok := v.(*list); ok && err == nil {
		// A later step may turn it round, and the plan's own has to stay as it is.
		return &list{slices.Clone(many.items)}, x.spend(len(many.items))
	}
	return v, err
}

func (n *seqNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	var last value = undefined{}
	for _, step := range n.steps {
		var err error
		if last, err = step.eval(ctx, x, s); err != nil {
			return nil, err
		}
	}
	return last, nil
}

func (n *getNode) eval(_ context.Context, x *execution, s *scope) (value, error) {
	return x.find(s, n.name)
}

func (n *letNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	inner := &scope{outer: s, bound: make(map[string]value, len(n.bindings))}
	for outermost := s; ; outermost = outermost.outer {
		if outermost.outer == nil {
			inner.params = outermost.params
			break
		}
	}
	for _, binding := range n.bindings {
		v, err := binding.of.eval(ctx, x, inner)
		if err != nil {
			return nil, err
		}
		inner.bound[binding.name] = v
	}
	return n.body.eval(ctx, x, inner)
}

func (n *getFirstNonEmptyNode) eval(_ context.Context, x *execution, s *scope) (value, error) {
	for _, name := range n.names {
		if v, err := x.find(s, name); err != nil || !isEmpty(v) {
			return v, err
		}
	}
	return &list{}, nil
}

func (n *concatNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	all := &list{}
	for _, part := range n.parts {
		v, err := part.eval(ctx, x, s)
		if err != nil {
			return nil, err
		}
		items := asList(v)
		if err := x.spend(len(items)); err != nil {
			return nil, err
		}
		all.items = append(all.items, items...)
	}
	return all, nil
}

// eval gives a single part as it is, and adds numbers from the second on.
func (n *sumNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	sum := value(0.0)
	for i, part := range n.parts {
		v, err := part.eval(ctx, x, s)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			sum = v
			continue
		}
		if sum, err = calculate("add", sum, v); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func (n *reverseNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if many, ok := v.(*list); ok && err == nil {
		slices.Reverse(many.items)
		return many, x.spend(len(many.items))
	}
	return v, err
}

func (n *uniqueNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	many, ok := v.(*list)
	switch {
	case err != nil || !ok:
		return v, err
	case len(many.items) > 1:
		return nil, failure("Expected zero or one element, got %d", len(many.items))
	case len(many.items) == 0 || isNullish(many.items[0]):
		return nil, nil
	}
	return many.items[0], nil
}

func (n *requiredNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if err == nil && isEmpty(v) {
		return nil, failure("Required value is empty")
	}
	return v, err
}

func (n *mapFieldNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.of.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	return x.mapField(v, n.field)
}

func (x *execution) mapField(v value, field string) (value, error) {
	switch known := v.(type) {
	case *list:
		mapped := &list{make([]value, len(known.items))}
		if err := x.spend(len(known.items)); err != nil {
			return nil, err
		}
		for i, item := range known.items {
			var err error
			if mapped.items[i], err = x.mapField(item, field); err != nil {
				return nil, err
			}
		}
		return mapped, nil
	case *object:
		if found := known.get(field); !isNullish(found) {
			return found, nil
		}
		return nil, nil
	case date, octets, *tagged:
		return nil, nil
	}
	return v, nil
}

func (n *ifNode) eval(ctx context.Context, x *execution, s *scope) (value, error) {
	v, err := n.value.eval(ctx, x, s)
	if err != nil {
		return nil, err
	}
	if n.rule.holds(v) {
		return n.then.eval(ctx, x, s)
	}
	return n.not.eval(ctx, x, s)
}

func (unitNode) eval(context.Context, *execution, *scope) (value, error) { return undefined{}, nil }
