// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package accelerate

// An exception is a case in which Prisma's own executor comes to something else than its
// client by itself.
type exception struct {
	// like is whom the gateway agrees with.
	like string
	why  string
}

const (
	unbounded = "the executor does not bound a statement's parameters: it is not told which kind of server it has"
	inJSON    = "what the client passes to the application by itself can not be said in JSON"
)

var exceptions = map[string]exception{
	"filters: in with more values than there can be parameters": {inProcess, unbounded},
	"filters: in with many values and an order":                 {inProcess, unbounded},
	"filters: in with many values and a page":                   {inProcess, unbounded},
	"filters: notIn with many values":                           {inProcess, unbounded},
	"filters: two lists of many values":                         {inProcess, unbounded},
	"filters: count with many values":                           {inProcess, unbounded},
	"filters: aggregate with many values":                       {inProcess, unbounded},
	"filters: groupBy with many values":                         {inProcess, unbounded},
	"raw: object identifiers":                                   {inProcess, "the executor fails to write a BigInt as JSON"},
	"raw: odd numbers":                                          {byExecutor, inJSON},
	"raw: arrays of arrays":                                     {byExecutor, inJSON},
}

func exceptionFor(name string, _ version) (exception, bool) {
	x, ok := exceptions[name]
	return x, ok
}
