// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "context"

// node is a step of a plan.
type node interface {
	eval(ctx context.Context, x *execution, s *scope) (value, error)
}

// The nodes, named as plans name them.
type (
	valueNode struct{ of expression }
	seqNode   struct{ steps []node }
	getNode   struct{ name string }
	letNode   struct {
		bindings []binding
		body     node
	}
	getFirstNonEmptyNode struct{ names []string }
	concatNode           struct{ parts []node }
	sumNode              struct{ parts []node }
	executeNode          struct{ statement *statement }
	queryNode            struct{ statement *statement }
	reverseNode          struct{ of node }
	uniqueNode           struct{ of node }
	requiredNode         struct{ of node }
	mapFieldNode         struct {
		of    node
		field string
	}
	joinNode struct {
		parent   node
		children []joinChild
		// strict joins keys of the same type alone; else a child's key is cast to its parent's.
		strict bool
	}
	transactionNode struct{ body node }
	dataMapNode     struct {
		of        node
		structure *resultNode
		enums     map[string]map[string]value
	}
	validateNode struct {
		of    node
		rules []rule
		error validationError
	}
	ifNode struct {
		value     node
		rule      rule
		then, not node
	}
	unitNode struct{}
	diffNode struct {
		from, to node
		fields   []string
	}
	processNode struct {
		of         node
		operations *operations
	}
	initializeRecordNode struct {
		of     node
		fields []fieldChange
	}
	mapRecordNode struct {
		of     node
		fields []fieldChange
	}
)

type binding struct {
	name string
	of   node
}

type joinChild struct {
	of                    node
	parentKeys, childKeys []string
	parentField           string
	atMostOne             bool
}

// rule is a condition on what a node gave.
type rule struct {
	kind  string // rowCountEq, rowCountNeq, affectedRowCountEq, never
	count float64
}

type validationError struct {
	identifier string
	context    *object
}

// fieldChange is what initializeRecord and mapRecord do to a field.
type fieldChange struct {
	field string
	kind  string // value, lastInsertId; set, add, subtract, multiply, divide
	of    expression
}

// operations are done on records in memory, after a query.
type operations struct {
	paginated     bool
	cursor        []cursorKey
	hasCursor     bool
	take, skip    *float64
	distinct      []string
	hasDistinct   bool
	reverse       bool
	linkingFields []string
	linked        bool
	nested        []nestedOperations
}

type cursorKey struct {
	field string
	of    expression
}

type nestedOperations struct {
	field string
	*operations
}

// resultNode says what becomes of a record, or of a field.
type resultNode struct {
	kind       string // affectedRows, object, field
	fields     []resultField
	shape      *shape
	serialized *string
	skipNulls  bool
	dbName     string
	arity      string
	scalar     string
	enum       string
	encoding   string
	source     *object // As the plan has it; messages quote it.
}

type resultField struct {
	name string
	*resultNode
}

// expression is a value that is known only when the plan runs.
type expression interface {
	evaluate(x *execution, s *scope) (value, error)
}

type (
	constant    struct{ value value }
	placeholder struct {
		name   string
		isDate bool
	}
	generatorCall struct {
		name string
		args []expression
	}
	expressions []expression
)

// statement is SQL with its parameters.
type statement struct {
	raw bool // As the user wrote it: errors and results are raw, too.
	sql string
	// fragments make the SQL where raw is false.
	fragments []fragment
	prefix    string
	numbered  bool
	chunkable bool
	args      []expression
	types     []argType
}

type fragment struct {
	kind                              string // stringChunk, parameter, parameterTuple, parameterTupleList
	chunk                             string
	prefix, separator, suffix, groups string
}

// argType is a parameter's type, or those of a tuple's elements.
type argType struct {
	list           bool
	scalar, dbType string
	tuple          []argType
}
