// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// source is what the Go types say beyond the definitions.
type source struct {
	// structs are the fields of each struct, in their order.
	structs map[string][]member
	// values are the constants of each type.
	values map[string][]constant
	// groups are the untyped constants, as they stand together.
	groups []group
}

// member is a field of a struct.
type member struct {
	// name is the one in JSON.
	name string
	// of is the type without pointer and list: a name, behind the import path and a dot
	// where the type is another package's.
	of string
}

// constant is one string and what its comment says about it, without the constant's name.
type constant struct {
	value, says string
}

// group is a block of constants under a comment of their own.
type group struct {
	title, rest string
	constants   []constant
}

func parseTypes(directory string) (source, error) {
	found := source{structs: map[string][]member{}, values: map[string][]constant{}}
	paths, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil || len(paths) == 0 {
		return found, fmt.Errorf("no Go file in %s", directory)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return found, fmt.Errorf("parsing Go types: %w", err)
		}
		found.add(file)
	}
	return found, nil
}

func (s *source) add(file *ast.File) {
	imports := importsOf(file)
	for _, declared := range file.Decls {
		d, ok := declared.(*ast.GenDecl)
		if !ok {
			continue
		}
		if d.Tok == token.CONST && d.Lparen.IsValid() {
			s.constants(d)
		}
		for _, spec := range d.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				s.structure(t, imports)
			}
		}
	}
}

// importsOf are the paths of a file's imports by the names that the file has for them.
func importsOf(file *ast.File) map[string]string {
	found := map[string]string{}
	for _, i := range file.Imports {
		to := unquoted(i.Path)
		name := path.Base(to)
		if i.Name != nil {
			name = i.Name.Name
		}
		found[name] = to
	}
	return found
}

func (s *source) structure(t *ast.TypeSpec, imports map[string]string) {
	structure, ok := t.Type.(*ast.StructType)
	if !ok {
		return
	}
	members := []member{}
	for _, field := range structure.Fields.List {
		if field.Tag == nil {
			continue
		}
		tag := reflect.StructTag(unquoted(field.Tag)).Get("json")
		if name, _, _ := strings.Cut(tag, ","); name != "" {
			members = append(members, member{name, typeOf(field.Type, imports)})
		}
	}
	s.structs[t.Name.Name] = members
}

func typeOf(e ast.Expr, imports map[string]string) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeOf(e.X, imports)
	case *ast.ArrayType:
		return typeOf(e.Elt, imports)
	case *ast.SelectorExpr:
		return imports[typeOf(e.X, nil)] + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func (s *source) constants(d *ast.GenDecl) {
	title, rest := firstSentence(d.Doc.Text())
	g := group{title: strings.TrimSuffix(title, "."), rest: rest}
	for _, spec := range d.Specs {
		c, ok := spec.(*ast.ValueSpec)
		if !ok || len(c.Values) != 1 {
			continue
		}
		literal, ok := c.Values[0].(*ast.BasicLit)
		if !ok {
			continue
		}
		says := strings.TrimSpace(strings.TrimPrefix(c.Doc.Text(), c.Names[0].Name))
		is := constant{unquoted(literal), says}
		if c.Type != nil {
			of := typeOf(c.Type, nil)
			s.values[of] = append(s.values[of], is)
		} else {
			g.constants = append(g.constants, is)
		}
	}
	if len(g.constants) > 0 && g.title != "" {
		s.groups = append(s.groups, g)
	}
}

// unquoted is a literal's value; one that is no string stays as it is written.
func unquoted(literal *ast.BasicLit) string {
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return literal.Value
	}
	return value
}
