// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "fmt"

// decoder turns a plan's JSON into nodes. The JSON is bounded already, so that decoding
// is, too. It keeps the first mistake.
type decoder struct {
	version Version
	dialect dialect
	err     error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = &Error{Status: 400, Message: "Malformed query plan: " + fmt.Sprintf(format, args...)}
	}
}

var nothing = newObject()

func (d *decoder) objectOf(v value, what string) *object {
	if known, ok := v.(*object); ok {
		return known
	}
	d.fail("%s is no object", what)
	return nothing
}

func (d *decoder) listOf(v value, what string) []value {
	if known, ok := v.(*list); ok {
		return known.items
	}
	d.fail("%s is no array", what)
	return nil
}

func (d *decoder) text(of *object, key string) string {
	if known, ok := of.get(key).(string); ok {
		return known
	}
	d.fail("%s is no string", key)
	return ""
}

// optionalText is empty where the key is missing or null.
func (d *decoder) optionalText(of *object, key string) string {
	if v := of.get(key); isNullish(v) {
		return ""
	}
	return d.text(of, key)
}

func flag(of *object, key string) bool {
	known, _ := of.get(key).(bool)
	return known
}

func (d *decoder) texts(v value, what string) []string {
	items := d.listOf(v, what)
	out := make([]string, len(items))
	for i, item := range items {
		known, ok := item.(string)
		if !ok {
			d.fail("%s holds what is no string", what)
		}
		out[i] = known
	}
	return out
}

func (d *decoder) nodes(v value, what string) []node {
	items := d.listOf(v, what)
	out := make([]node, len(items))
	for i, item := range items {
		out[i] = d.node(item)
	}
	return out
}

// node decodes one node with all that is below it.
func (d *decoder) node(v value) node {
	of := d.objectOf(v, "a node")
	kind := d.optionalText(of, "type")
	args := of.get("args")
	switch kind {
	case "value":
		return &valueNode{d.expression(args)}
	case "seq":
		return &seqNode{d.nodes(args, kind)}
	case "concat":
		return &concatNode{d.nodes(args, kind)}
	case "sum":
		return &sumNode{d.nodes(args, kind)}
	case "reverse":
		return &reverseNode{d.node(args)}
	case "unique":
		return &uniqueNode{d.node(args)}
	case "required":
		return &requiredNode{d.node(args)}
	case "transaction":
		return &transactionNode{d.node(args)}
	case "unit":
		return unitNode{}
	}
	return d.nodeOfFields(kind, d.objectOf(args, "args of "+kind))
}

func (d *decoder) nodeOfFields(kind string, args *object) node {
	switch kind {
	case "get":
		return &getNode{d.text(args, "name")}
	case "getFirstNonEmpty":
		return &getFirstNonEmptyNode{d.texts(args.get("names"), "names")}
	case "let":
		return d.let(args)
	case "execute":
		return &executeNode{d.statement(args)}
	case "query":
		return &queryNode{d.statement(args)}
	case "mapField":
		return &mapFieldNode{of: d.node(args.get("records")), field: d.text(args, "field")}
	case "join":
		return d.join(args)
	case "if":
		return &ifNode{d.node(args.get("value")), d.rule(args.get("rule")), d.node(args.get("then")), d.node(args.get("else"))}
	case "diff":
		return &diffNode{d.node(args.get("from")), d.node(args.get("to")), d.diffFields(args)}
	}
	return d.nodeOnExpression(kind, args)
}

func (d *decoder) nodeOnExpression(kind string, args *object) node {
	switch kind {
	case "dataMap":
		return d.dataMap(args)
	case "validate":
		return d.validate(args)
	case "process":
		return &processNode{d.node(args.get("expr")), d.operations(args.get("operations"))}
	case "initializeRecord":
		return &initializeRecordNode{d.node(args.get("expr")), d.changes(args.get("fields"))}
	case "mapRecord":
		return &mapRecordNode{d.node(args.get("expr")), d.changes(args.get("fields"))}
	}
	d.fail("Unexpected node type: %.40s", kind)
	return unitNode{}
}

func (d *decoder) let(args *object) node {
	decoded := &letNode{}
	for _, item := range d.listOf(args.get("bindings"), "bindings") {
		of := d.objectOf(item, "a binding")
		decoded.bindings = append(decoded.bindings, binding{d.text(of, "name"), d.node(of.get("expr"))})
	}
	decoded.body = d.node(args.get("expr"))
	return decoded
}

func (d *decoder) join(args *object) node {
	// Plans before 7.5 know no other joins than strict ones.
	decoded := &joinNode{parent: d.node(args.get("parent")), strict: !args.has("canAssumeStrictEquality") || flag(args, "canAssumeStrictEquality")}
	for _, item := range d.listOf(args.get("children"), "children") {
		of := d.objectOf(item, "a join's child")
		child := joinChild{of: d.node(of.get("child")), parentField: d.text(of, "parentField"), atMostOne: flag(of, "isRelationUnique")}
		for _, pair := range d.listOf(of.get("on"), "on") {
			keys := d.texts(pair, "on")
			if len(keys) != 2 {
				d.fail("on holds what is no pair")
				continue
			}
			child.parentKeys, child.childKeys = append(child.parentKeys, keys[0]), append(child.childKeys, keys[1])
		}
		decoded.children = append(decoded.children, child)
	}
	return decoded
}

// diffFields are nil where records are compared whole, as 6.16 does.
func (d *decoder) diffFields(args *object) []string {
	if !args.has("fields") || d.dialect.wholeDiff {
		return nil
	}
	return d.texts(args.get("fields"), "fields")
}

func (d *decoder) rule(v value) rule {
	of := d.objectOf(v, "a rule")
	decoded := rule{kind: d.text(of, "type")}
	switch decoded.kind {
	case "never":
	case "rowCountEq", "rowCountNeq", "affectedRowCountEq":
		count, ok := of.get("args").(float64)
		if !ok {
			d.fail("a rule's args is no number")
		}
		decoded.count = count
	default:
		d.fail("Unknown rule type: %.40s", decoded.kind)
	}
	return decoded
}

func (d *decoder) validate(args *object) node {
	decoded := &validateNode{of: d.node(args.get("expr"))}
	for _, item := range d.listOf(args.get("rules"), "rules") {
		decoded.rules = append(decoded.rules, d.rule(item))
	}
	decoded.error.context = nothing
	if context := args.get("context"); !isNullish(context) {
		decoded.error.context = d.objectOf(context, "context")
	}
	// Plans before 7.5 spell it with an underscore.
	if decoded.error.identifier = d.optionalText(args, "errorIdentifier"); decoded.error.identifier == "" {
		decoded.error.identifier = d.text(args, "error_identifier")
	}
	if validations[decoded.error.identifier].code == "" {
		d.fail("Unknown error identifier: %.40s", decoded.error.identifier)
	}
	return decoded
}

func (d *decoder) changes(v value) []fieldChange {
	of := d.objectOf(v, "fields")
	var decoded []fieldChange
	for i, key := range of.shape.keys {
		change := d.objectOf(of.values[i], "a field's change")
		kind := d.text(change, "type")
		switch kind {
		case "lastInsertId", "value", "set", "add", "subtract", "multiply", "divide":
		default:
			d.fail("Unexpected field operation type: %.40s", kind)
		}
		decoded = append(decoded, fieldChange{key, kind, d.expression(change.get("value"))})
	}
	return decoded
}

func (d *decoder) operations(v value) *operations {
	of := d.objectOf(v, "operations")
	decoded := &operations{reverse: flag(of, "reverse")}
	if distinct := of.get("distinct"); !isNullish(distinct) {
		decoded.hasDistinct, decoded.distinct = true, d.texts(distinct, "distinct")
	}
	if linking := of.get("linkingFields"); !isNullish(linking) {
		decoded.linked, decoded.linkingFields = true, d.texts(linking, "linkingFields")
	}
	if pagination := of.get("pagination"); !isNullish(pagination) {
		d.pagination(d.objectOf(pagination, "pagination"), decoded)
	}
	if nested := of.get("nested"); !isNullish(nested) {
		below := d.objectOf(nested, "nested")
		for i, key := range below.shape.keys {
			decoded.nested = append(decoded.nested, nestedOperations{key, d.operations(below.values[i])})
		}
	}
	return decoded
}

func (d *decoder) pagination(of *object, decoded *operations) {
	decoded.paginated = true
	decoded.take, decoded.skip = d.count(of, "take"), d.count(of, "skip")
	cursor := of.get("cursor")
	if isNullish(cursor) {
		return
	}
	decoded.hasCursor = true
	keys := d.objectOf(cursor, "cursor")
	for i, key := range keys.shape.keys {
		decoded.cursor = append(decoded.cursor, cursorKey{key, d.expression(keys.values[i])})
	}
}

func (d *decoder) count(of *object, key string) *float64 {
	v := of.get(key)
	if isNullish(v) {
		return nil
	}
	count, ok := v.(float64)
	if !ok {
		d.fail("%s is no number", key)
	}
	return &count
}
