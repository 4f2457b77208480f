// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "strings"

// parseArray reads an array's text (PostgreSQL, arrays, "Array Input and Output
// Syntax") into lists; read is given the elements' texts. What is none stays a text.
func parseArray(text string, read func(string) value) value {
	parser := arrayParser{rest: text, read: read}
	if strings.HasPrefix(text, "[") { // Bounds that do not begin at 1.
		_, parser.rest, _ = strings.Cut(text, "=")
	}
	parsed, ok := parser.list(maxDimensions)
	if !ok || parser.rest != "" {
		return text
	}
	return parsed
}

// maxDimensions is PostgreSQL's limit (MAXDIM), with the elements.
const maxDimensions = 7

type arrayParser struct {
	rest string
	read func(string) value
}

func (p *arrayParser) accept(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *arrayParser) list(depth int) (*list, bool) {
	parsed := &list{}
	if depth == 0 || !p.accept('{') {
		return nil, false
	}
	if p.accept('}') {
		return parsed, true
	}
	for {
		item, ok := p.item(depth)
		if !ok {
			return nil, false
		}
		parsed.items = append(parsed.items, item)
		if p.accept('}') {
			return parsed, true
		}
		if !p.accept(',') {
			return nil, false
		}
	}
}

func (p *arrayParser) item(depth int) (value, bool) {
	switch {
	case strings.HasPrefix(p.rest, "{"):
		return p.list(depth - 1)
	case p.accept('"'):
		return p.quoted()
	}
	end := strings.IndexAny(p.rest, ",}")
	if end < 0 {
		return nil, false
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	if text == "NULL" {
		return nil, true
	}
	return p.read(text), true
}

func (p *arrayParser) quoted() (value, bool) {
	var text strings.Builder
	for {
		end := strings.IndexAny(p.rest, `"\`)
		if end < 0 || p.rest[end] == '\\' && end+1 == len(p.rest) {
			return nil, false
		}
		text.WriteString(p.rest[:end])
		if p.rest[end] == '"' {
			p.rest = p.rest[end+1:]
			return p.read(text.String()), true
		}
		text.WriteByte(p.rest[end+1])
		p.rest = p.rest[end+2:]
	}
}
