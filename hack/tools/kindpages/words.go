// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// typeName says in a word or two what a value looks like in YAML.
func typeName(s *apiextensionsv1.JSONSchemaProps) string {
	switch {
	case s.XIntOrString:
		return "integer or string"
	case s.Items != nil:
		return "list of " + typeName(s.Items.Schema) + "s"
	case s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil:
		return "map of " + typeName(s.AdditionalProperties.Schema) + "s"
	case s.Format == "date-time":
		return "time"
	}
	return s.Type
}

// limits say what a value must be beyond its type.
func limits(s *apiextensionsv1.JSONSchemaProps) []string {
	found := []string{}
	if len(s.Enum) > 0 {
		found = append(found, "one of "+values(s.Enum))
	}
	found = append(found, between(s.Minimum, s.Maximum, "")...)
	found = append(found, between(s.MinLength, s.MaxLength, " character")...)
	found = append(found, between(s.MinItems, s.MaxItems, " item")...)
	entry := " field"
	if s.AdditionalProperties != nil {
		entry = " entry"
	}
	found = append(found, between(s.MinProperties, s.MaxProperties, entry)...)
	if s.Pattern != "" {
		found = append(found, "matches `"+s.Pattern+"`")
	}
	if len(s.XListMapKeys) > 0 {
		found = append(found, "one for each `"+strings.Join(s.XListMapKeys, "` and `")+"`")
	}
	if s.XListType != nil && *s.XListType == "set" {
		found = append(found, "none twice")
	}
	if s.Items != nil {
		for _, limit := range limits(s.Items.Schema) {
			found = append(found, "each "+limit)
		}
	}
	return found
}

func between[N int64 | float64](low, high *N, unit string) []string {
	switch {
	case low != nil && high != nil && *low == *high:
		return []string{"exactly " + number(*low) + plural(unit, *high)}
	case low != nil && high != nil:
		return []string{number(*low) + " to " + number(*high) + plural(unit, *high)}
	case low != nil:
		return []string{"at least " + number(*low) + plural(unit, *low)}
	case high != nil:
		return []string{"at most " + number(*high) + plural(unit, *high)}
	}
	return nil
}

func number[N int64 | float64](n N) string {
	return strconv.FormatFloat(float64(n), 'f', -1, 64)
}

func plural[N int64 | float64](unit string, n N) string {
	if unit == "" || n == 1 {
		return unit
	}
	if stem, ok := strings.CutSuffix(unit, "y"); ok {
		return stem + "ies"
	}
	return unit + "s"
}

func values(all []apiextensionsv1.JSON) string {
	words := make([]string, 0, len(all))
	for _, v := range all {
		words = append(words, value(v))
	}
	return strings.Join(words, ", ")
}

// value is a value as somebody would write it in YAML.
func value(v apiextensionsv1.JSON) string {
	var text string
	if err := json.Unmarshal(v.Raw, &text); err != nil || text == "" {
		return fmt.Sprintf("`%s`", v.Raw)
	}
	return "`" + text + "`"
}

var (
	sentenceEnd = regexp.MustCompile(`\.(\s+|$)`)
	inCode      = regexp.MustCompile("`[^`]*`")
	markup      = regexp.MustCompile(`[<*\[|]|\b_|_\b`)
)

// firstSentence parts a text after its first sentence.
func firstSentence(text string) (first, rest string) {
	end := sentenceEnd.FindStringIndex(text)
	if end == nil {
		return oneLine(text), ""
	}
	return oneLine(text[:end[0]]) + ".", strings.TrimSpace(text[end[1]:])
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

// prose makes Markdown of a comment: a line for each paragraph, and nothing that Markdown
// takes for markup, but for code.
func prose(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = escaped(oneLine(p))
	}
	return strings.Join(paragraphs, "\n\n")
}

func escaped(line string) string {
	var out strings.Builder
	end := 0
	for _, span := range inCode.FindAllStringIndex(line, -1) {
		out.WriteString(markup.ReplaceAllString(line[end:span[0]], `\$0`))
		out.WriteString(line[span[0]:span[1]])
		end = span[1]
	}
	out.WriteString(markup.ReplaceAllString(line[end:], `\$0`))
	return out.String()
}

// named sets the name that a field's description begins with as code.
func named(name, text string) string {
	if rest, ok := strings.CutPrefix(text, name+" "); ok {
		return "`" + name + "` " + rest
	}
	return text
}
