// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

// expression decodes a value of a plan, which may refer to others. Lists that hold but
// constants are one.
func (d *decoder) expression(v value) expression {
	switch of := v.(type) {
	case *object:
		return d.call(of)
	case *list:
		return d.expressions(of)
	}
	if isNullish(v) {
		return constant{}
	}
	return constant{v}
}

func (d *decoder) expressions(of *list) expression {
	decoded := make(expressions, len(of.items))
	fixed := true
	for i, item := range of.items {
		decoded[i] = d.expression(item)
		_, known := decoded[i].(constant)
		fixed = fixed && known
	}
	if fixed {
		return constant{of}
	}
	return decoded
}

func (d *decoder) call(of *object) expression {
	switch of.get("prisma__type") {
	case "param":
		call := d.objectOf(of.get("prisma__value"), "a param")
		return placeholder{name: d.text(call, "name"), isDate: d.dialect.dateParams && call.get("type") == "DateTime"}
	case "generatorCall":
		call := d.objectOf(of.get("prisma__value"), "a generatorCall")
		decoded := generatorCall{name: d.text(call, "name")}
		for _, arg := range d.listOf(call.get("args"), "args") {
			decoded.args = append(decoded.args, d.expression(arg))
		}
		return decoded
	}
	return constant{of}
}

func (d *decoder) statement(args *object) *statement {
	decoded := &statement{}
	for _, arg := range d.listOf(args.get("args"), "args") {
		decoded.args = append(decoded.args, d.expression(arg))
	}
	for _, item := range d.listOf(args.get("argTypes"), "argTypes") {
		decoded.types = append(decoded.types, d.argType(item, true))
	}
	switch kind := d.text(args, "type"); kind {
	case "rawSql":
		decoded.raw, decoded.sql = true, d.text(args, "sql")
	case "templateSql":
		d.template(args, decoded)
	default:
		d.fail("Invalid query type: %.40s", kind)
	}
	return decoded
}

func (d *decoder) template(args *object, decoded *statement) {
	format := d.objectOf(args.get("placeholderFormat"), "placeholderFormat")
	decoded.prefix, decoded.numbered = d.text(format, "prefix"), flag(format, "hasNumbering")
	decoded.chunkable = flag(args, "chunkable")
	for _, item := range d.listOf(args.get("fragments"), "fragments") {
		decoded.fragments = append(decoded.fragments, d.fragment(d.objectOf(item, "a fragment")))
	}
}

func (d *decoder) fragment(of *object) fragment {
	decoded := fragment{kind: d.text(of, "type"), separator: ","}
	switch decoded.kind {
	case "stringChunk":
		decoded.chunk = d.text(of, "chunk")
	case "parameter":
	case "parameterTuple", "parameterTupleList":
		decoded.prefix, decoded.suffix = d.optionalText(of, "itemPrefix"), d.optionalText(of, "itemSuffix")
		if of.has("itemSeparator") { // Plans before 7.5 have none in a tuple.
			decoded.separator = d.text(of, "itemSeparator")
		}
		decoded.groups = d.optionalText(of, "groupSeparator")
	default:
		d.fail("Invalid fragment type: %.40s", decoded.kind)
	}
	return decoded
}

func (d *decoder) argType(v value, tuples bool) argType {
	of := d.objectOf(v, "an argument's type")
	arity := d.optionalText(of, "arity")
	if arity != "tuple" {
		return argType{list: arity == "list", scalar: d.optionalText(of, "scalarType"), dbType: d.optionalText(of, "dbType")}
	}
	decoded := argType{tuple: []argType{}}
	if !tuples {
		d.fail("a tuple's type holds another")
		return decoded
	}
	for _, item := range d.listOf(of.get("elements"), "elements") {
		decoded.tuple = append(decoded.tuple, d.argType(item, false))
	}
	if len(decoded.tuple) == 0 {
		d.fail("a tuple's type is empty")
	}
	return decoded
}

func (d *decoder) dataMap(args *object) node {
	decoded := &dataMapNode{of: d.node(args.get("expr")), structure: d.result(args.get("structure")), enums: map[string]map[string]value{}}
	if enums := args.get("enums"); !isNullish(enums) {
		of := d.objectOf(enums, "enums")
		for i, name := range of.shape.keys {
			values := d.objectOf(of.values[i], "an enum")
			decoded.enums[name] = map[string]value{}
			for j, key := range values.shape.keys {
				decoded.enums[name][key] = values.values[j]
			}
		}
	}
	return decoded
}

func (d *decoder) result(v value) *resultNode {
	of := d.objectOf(v, "a result's structure")
	decoded := &resultNode{kind: d.text(of, "type"), source: of}
	switch decoded.kind {
	case "affectedRows":
	case "object":
		d.resultObject(of, decoded)
	case "field":
		decoded.dbName = d.optionalText(of, "dbName")
		kind := d.objectOf(of.get("fieldType"), "fieldType")
		decoded.arity, decoded.scalar = d.optionalText(kind, "arity"), d.text(kind, "type")
		decoded.enum, decoded.encoding = d.optionalText(kind, "name"), d.optionalText(kind, "encoding")
		if !scalarTypes[decoded.scalar] {
			d.fail("DataMapper: Unknown result type: %.40s", decoded.scalar)
		}
	default:
		d.fail("Invalid data mapping type: '%.40s'", decoded.kind)
	}
	return decoded
}

func (d *decoder) resultObject(of *object, decoded *resultNode) {
	decoded.skipNulls = flag(of, "skipNulls")
	if name := of.get("serializedName"); !isNullish(name) {
		serialized := d.text(of, "serializedName")
		decoded.serialized = &serialized
	}
	fields := d.objectOf(of.get("fields"), "fields")
	decoded.shape = newShape(fields.shape.keys)
	for i, name := range fields.shape.keys {
		decoded.fields = append(decoded.fields, resultField{name, d.result(fields.values[i])})
	}
}
