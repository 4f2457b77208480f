// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Package docs reads the pages that are written for people, so that tests can run the
// commands that stand there and hold what is said against the product. It may not change them.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Page is a Markdown file.
type Page struct {
	// Path is relative to the repository, with slashes.
	Path string
	// Prose is the page without its blocks, line by line.
	Prose []string
	// Blocks are what stands between fences.
	Blocks []Block
}

// Block is a fenced block of code.
type Block struct {
	// Line is where its fence begins, from 1.
	Line int
	// Language is what the fence says, such as sh.
	Language string
	// Text has no fences, and no more indentation than they have.
	Text string
	// RunBy is the test that the comment above it names, such as TestNewcomer.
	RunBy string
	// In is the directory of that test's package.
	In string
	// NotRun is the reason that the comment above it gives.
	NotRun string
}

// Shell reports whether somebody may paste the block into a shell.
func (b Block) Shell() bool {
	return b.Language == "sh" || b.Language == "bash" || b.Language == "shell" || b.Language == "console"
}

var (
	fence  = regexp.MustCompile("^( *)```+ *([a-z]*)")
	runBy  = regexp.MustCompile(`^ *<!-- run by (Test\w+), (\S+) -->$`)
	notRun = regexp.MustCompile(`^ *<!-- not run here: (.+) -->$`)
)

// Read reads one page; path is relative to the repository at top.
func Read(top, path string) (Page, error) {
	text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(path)))
	if err != nil {
		return Page{}, fmt.Errorf("reading a page: %w", err)
	}
	return parse(path, string(text)), nil
}

// All reads every page: README.md and its like at the top, and what is below docs.
func All(top string) ([]Page, error) {
	files, err := filepath.Glob(filepath.Join(top, "*.md"))
	if err != nil {
		return nil, fmt.Errorf("looking for pages: %w", err)
	}
	err = filepath.WalkDir(filepath.Join(top, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for pages: %w", err)
	}
	var pages []Page
	for _, file := range files {
		path, err := filepath.Rel(top, file)
		if err != nil {
			return nil, fmt.Errorf("looking for pages: %w", err)
		}
		page, err := Read(top, filepath.ToSlash(path))
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
	}
	return pages, nil
}

// RunBy returns the page's blocks that name the test, in their order.
func (p Page) RunBy(test string) []Block {
	var found []Block
	for _, block := range p.Blocks {
		if block.RunBy == test {
			found = append(found, block)
		}
	}
	return found
}

func parse(path, text string) Page {
	page := Page{Path: path}
	var open *Block
	var indent string
	above := ""
	for i, line := range strings.Split(text, "\n") {
		opens := fence.FindStringSubmatch(line)
		switch {
		case opens != nil && open == nil:
			open, indent = &Block{Line: i + 1, Language: opens[2]}, opens[1]
			open.mark(above)
		case opens != nil:
			page.Blocks = append(page.Blocks, *open)
			open = nil
		case open != nil:
			open.Text += strings.TrimPrefix(line, indent) + "\n"
		default:
			page.Prose = append(page.Prose, line)
		}
		if strings.TrimSpace(line) != "" {
			above = line
		}
	}
	return page
}

// mark takes what the comment above a block says of it.
func (b *Block) mark(comment string) {
	if said := runBy.FindStringSubmatch(comment); said != nil {
		b.RunBy, b.In = said[1], said[2]
	}
	if said := notRun.FindStringSubmatch(comment); said != nil {
		b.NotRun = said[1]
	}
}
