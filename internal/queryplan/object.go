// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "slices"

// shape is the keys of objects in their order. Rows of one result share theirs, so that
// a row takes no more than its values.
type shape struct {
	keys  []string
	index map[string]int
	next  map[string]*shape // What the shape becomes with a further key.
}

// wide is from how many keys on a shape has an index.
const wide = 8

func newShape(keys []string) *shape {
	made := &shape{keys: keys}
	if len(keys) > wide {
		made.index = make(map[string]int, len(keys))
		for i, key := range keys {
			made.index[key] = i
		}
	}
	return made
}

func (s *shape) at(key string) int {
	if s.index == nil {
		return slices.Index(s.keys, key)
	}
	if i, ok := s.index[key]; ok {
		return i
	}
	return -1
}

// with is the shape that has the key too, which is new to it.
func (s *shape) with(key string) *shape {
	if next := s.next[key]; next != nil {
		return next
	}
	next := newShape(append(slices.Clone(s.keys), key))
	if s.next == nil {
		s.next = map[string]*shape{}
	}
	s.next[key] = next
	return next
}

// object is a record: a row, what became of it, or an object of JSON.
type object struct {
	shape  *shape
	values []value
}

func newObject() *object { return &object{shape: newShape(nil)} }

// get is the key's value, undefined where there is none.
func (o *object) get(key string) value {
	if i := o.shape.at(key); i >= 0 {
		return o.values[i]
	}
	return undefined{}
}

func (o *object) has(key string) bool { return o.shape.at(key) >= 0 }

func (o *object) set(key string, v value) {
	if i := o.shape.at(key); i >= 0 {
		o.values[i] = v
		return
	}
	o.shape = o.shape.with(key)
	o.values = append(o.values, v)
}

// with sets the key and returns the object, where one is written down.
func (o *object) with(key string, v value) *object {
	o.set(key, v)
	return o
}

// isIndex tells whether JavaScript orders the key as a number, before all others.
func isIndex(key string) bool {
	if key == "" || len(key) > 10 || key[0] == '0' && key != "0" {
		return false
	}
	for _, digit := range []byte(key) {
		if digit < '0' || digit > '9' {
			return false
		}
	}
	return len(key) < 10 || key < "4294967295"
}

// orderKeys puts keys that are numbers first, from the smallest to the largest, as an
// object that JavaScript parsed has them.
func (o *object) orderKeys() {
	if !slices.ContainsFunc(o.shape.keys, isIndex) {
		return
	}
	order := make([]int, len(o.shape.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareKeys(o.shape.keys[a], o.shape.keys[b]) })
	keys, values := make([]string, len(order)), make([]value, len(order))
	for to, from := range order {
		keys[to], values[to] = o.shape.keys[from], o.values[from]
	}
	o.shape, o.values = newShape(keys), values
}

func compareKeys(a, b string) int {
	switch first, second := isIndex(a), isIndex(b); {
	case first && !second:
		return -1
	case !first && second:
		return 1
	case !first:
		return 0
	case len(a) != len(b):
		return len(a) - len(b)
	case a < b:
		return -1
	default:
		return 1
	}
}
