// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

func (c constant) evaluate(*execution, *scope) (value, error) { return c.value, nil }

func (p placeholder) evaluate(x *execution, s *scope) (value, error) {
	found, err := x.find(s, p.name)
	if err != nil {
		return nil, err
	}
	switch known := found.(type) {
	case undefined:
		return nil, failure("Missing value for query variable %s", p.name)
	case string:
		if p.isDate {
			return parseDate(known), nil
		}
	}
	return found, nil
}

func (e expressions) evaluate(x *execution, s *scope) (value, error) {
	evaluated := &list{make([]value, len(e))}
	for i, item := range e {
		var err error
		if evaluated.items[i], err = item.evaluate(x, s); err != nil {
			return nil, err
		}
	}
	return evaluated, x.spend(len(e))
}

func (g generatorCall) evaluate(x *execution, s *scope) (value, error) {
	args := make([]value, len(g.args))
	for i, arg := range g.args {
		var err error
		if args[i], err = arg.evaluate(x, s); err != nil {
			return nil, err
		}
	}
	return x.generate(g.name, args)
}
