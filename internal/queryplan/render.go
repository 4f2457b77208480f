// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "strconv"

// maxChunk is how many parameters Prisma gives one statement that it can split;
// maxParameters is how many PostgreSQL takes (protocol-message-formats, Bind).
const (
	maxChunk      = 32766
	maxParameters = 65535
)

// rendered is a statement that is ready to run.
type rendered struct {
	sql   string
	args  []value
	types []argType
}

// render makes the statements that a statement comes to: several where it has more
// parameters than one may have.
func (x *execution) render(of *statement, s *scope) ([]rendered, error) {
	args := make([]value, len(of.args))
	for i, arg := range of.args {
		var err error
		if args[i], err = arg.evaluate(x, s); err != nil {
			return nil, err
		}
	}
	if of.raw {
		if len(args) > maxParameters {
			return nil, errTooManyParameters()
		}
		return []rendered{{of.sql, args, of.types}}, nil
	}
	pieces, err := pair(of.fragments, args)
	if err != nil {
		return nil, err
	}
	chunks := [][]piece{pieces}
	if of.chunkable {
		if chunks, err = x.split(pieces); err != nil {
			return nil, err
		}
	}
	parts := make([]rendered, len(chunks))
	for i, chunk := range chunks {
		if parts[i], err = x.renderTemplate(of, chunk); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// piece is a fragment with what it stands for: one value, a tuple, or tuples.
type piece struct {
	*fragment
	arg    int // Which argument it is; of a stringChunk none.
	values []value
	tuples [][]value
}

func (p *piece) count() int {
	if p.kind != "parameterTupleList" {
		return len(p.values)
	}
	count := 0
	for _, tuple := range p.tuples {
		count += len(tuple)
	}
	return count
}

// pair gives every fragment its argument.
func pair(fragments []fragment, args []value) ([]piece, error) {
	pieces := make([]piece, len(fragments))
	next := 0
	for i := range fragments {
		pieces[i].fragment = &fragments[i]
		if fragments[i].kind == "stringChunk" {
			continue
		}
		if next >= len(args) {
			return nil, failure("Malformed query template. Fragments attempt to read over %d parameters.", len(args))
		}
		if err := pieces[i].take(args[next]); err != nil {
			return nil, err
		}
		pieces[i].arg = next
		next++
	}
	return pieces, nil
}

func (p *piece) take(arg value) error {
	many, isList := arg.(*list)
	switch {
	case p.kind == "parameter":
		p.values = []value{arg}
		return nil
	case p.kind == "parameterTuple":
		p.values = asList(arg)
		return nil
	case !isList:
		return failure("Malformed query template. Tuple list expected.")
	case len(many.items) == 0:
		return failure("Malformed query template. Tuple list cannot be empty.")
	}
	for _, item := range many.items {
		tuple, ok := item.(*list)
		if !ok {
			return failure("Malformed query template. Tuple expected.")
		}
		p.tuples = append(p.tuples, tuple.items)
	}
	return nil
}

// template is a statement on its way from fragments to SQL.
type template struct {
	of  *statement
	sql []byte
	out rendered
}

func (x *execution) renderTemplate(of *statement, pieces []piece) (rendered, error) {
	count := 0
	for i := range pieces {
		count += pieces[i].count()
	}
	if count > maxParameters {
		return rendered{}, errTooManyParameters()
	}
	if err := x.spend(count + len(pieces)); err != nil {
		return rendered{}, err
	}
	made := template{of: of}
	for i := range pieces {
		if err := made.add(&pieces[i]); err != nil {
			return rendered{}, err
		}
	}
	made.out.sql = string(made.sql)
	return made.out, nil
}

func (t *template) add(p *piece) error {
	before := len(t.out.args)
	switch p.kind {
	case "stringChunk":
		t.sql = append(t.sql, p.chunk...)
		return nil
	case "parameter":
		t.parameters(p.values, "", "", "")
	case "parameterTuple":
		t.tuple(p)
	default:
		for i, tuple := range p.tuples {
			if i > 0 {
				t.sql = append(t.sql, p.groups...)
			}
			t.sql = append(t.sql, p.prefix...)
			t.parameters(tuple, "", p.separator, "")
			t.sql = append(t.sql, p.suffix...)
		}
	}
	return t.addTypes(p.arg, len(t.out.args)-before)
}

func (t *template) tuple(p *piece) {
	t.sql = append(t.sql, '(')
	if len(p.values) == 0 {
		t.sql = append(t.sql, "NULL"...)
	}
	t.parameters(p.values, p.prefix, p.separator, p.suffix)
	t.sql = append(t.sql, ')')
}

func (t *template) parameters(values []value, before, between, after string) {
	for i, v := range values {
		if i > 0 {
			t.sql = append(t.sql, between...)
		}
		t.out.args = append(t.out.args, v)
		t.sql = append(append(t.sql, before...), t.of.prefix...)
		if t.of.numbered {
			t.sql = strconv.AppendInt(t.sql, int64(len(t.out.args)), 10)
		}
		t.sql = append(t.sql, after...)
	}
}

// addTypes gives the parameters that were added the argument's type, or those of its
// tuple's elements in turn.
func (t *template) addTypes(arg, added int) error {
	if arg >= len(t.of.types) {
		return failure("Malformed query template. An argument has no type.")
	}
	of := t.of.types[arg]
	if of.tuple == nil {
		for range added {
			t.out.types = append(t.out.types, of)
		}
		return nil
	}
	if added%len(of.tuple) != 0 {
		return failure("Malformed query template. Expected the number of parameters to match the tuple arity, "+
			"but got %d parameters for a tuple of arity %d.", added, len(of.tuple))
	}
	for i := range added {
		t.out.types = append(t.out.types, of.tuple[i%len(of.tuple)])
	}
	return nil
}
