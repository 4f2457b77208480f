// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// function is one measured function declaration.
type function struct {
	name     string
	position string
	lines    int
	// literal: the body is one statement that only spells a value out, so its
	// length is the length of the value and splitting it would hide it.
	literal bool
}

// file is one measured source file.
type file struct {
	path  string
	lines int
}

// measure returns what it found per Go module under root, in order of path.
// Directories whose names start with a dot or that hold test data are left out,
// as the go command leaves them out.
func measure(root string) ([]*module, error) {
	modules := map[string]*module{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(root, path, entry.Name())
		}
		if entry.Name() == "go.mod" {
			modules[filepath.Dir(path)] = &module{dir: filepath.Dir(path)}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for Go modules under %s: %w", root, err)
	}
	sorted := make([]*module, 0, len(modules))
	for dir, found := range modules {
		if err := found.read(dir, modules); err != nil {
			return nil, err
		}
		sorted = append(sorted, found)
	}
	slices.SortFunc(sorted, func(a, b *module) int { return cmp.Compare(a.dir, b.dir) })
	return sorted, nil
}

func enter(root, path, name string) error {
	hidden := strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
	if path != root && (hidden || name == "testdata" || name == "vendor") {
		return filepath.SkipDir
	}
	return nil
}

// read measures the module's own files: a nested module counts for itself.
func (m *module) read(root string, others map[string]*module) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if _, nested := others[path]; nested && path != root {
				return filepath.SkipDir
			}
			return enter(root, path, entry.Name())
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		return m.add(path)
	})
}

func (m *module) add(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parsing %s: %w", path, err)
	}
	if ast.IsGenerated(parsed) {
		return nil
	}
	m.files = append(m.files, file{path: path, lines: bytes.Count(source, []byte("\n"))})
	for _, declaration := range parsed.Decls {
		if declared, ok := declaration.(*ast.FuncDecl); ok && declared.Body != nil {
			m.functions = append(m.functions, describe(set, declared))
		}
	}
	return nil
}

func describe(set *token.FileSet, declared *ast.FuncDecl) function {
	first, last := set.Position(declared.Pos()), set.Position(declared.End())
	return function{
		name:     declared.Name.Name,
		position: fmt.Sprintf("%s:%d", first.Filename, first.Line),
		lines:    last.Line - first.Line + 1,
		literal:  isLiteral(declared.Body),
	}
}

// isLiteral reports whether a body is one return or one expression without a
// function in it: a composite literal, or the chain of With calls that makes an
// apply configuration.
func isLiteral(body *ast.BlockStmt) bool {
	if len(body.List) != 1 {
		return false
	}
	switch body.List[0].(type) {
	case *ast.ReturnStmt, *ast.ExprStmt:
	default:
		return false
	}
	plain := true
	ast.Inspect(body, func(node ast.Node) bool {
		if _, ok := node.(*ast.FuncLit); ok {
			plain = false
		}
		return plain
	})
	return plain
}
