// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = "../.."

func pages(t *testing.T) []Page {
	t.Helper()
	found, err := All(top)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("there are %d pages, which can not be all", len(found))
	}
	return found
}

func TestEveryCommandIsRunByATestOrMarkedAsNotRun(t *testing.T) {
	for _, page := range pages(t) {
		for _, block := range page.Blocks {
			switch {
			case block.Language == "":
				t.Errorf("%s:%d: the fence names no language: text, where it is none", page.Path, block.Line)
			case !block.Shell():
			case block.RunBy != "":
				runs(t, page, block)
			case block.NotRun == "":
				t.Errorf("%s:%d: nobody runs this: put <!-- run by TestName, directory --> above it, or <!-- not run here: why -->", page.Path, block.Line)
			}
		}
	}
}

// everyPage is the test that reads all pages.
const everyPage = "TestPages"

// runs looks for the test, and whether its package reads the page.
func runs(t *testing.T, page Page, block Block) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, block.In, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(text)
	}
	if !strings.Contains(sources.String(), "func "+block.RunBy+"(t *testing.T)") {
		t.Errorf("%s:%d: there is no %s in %s", page.Path, block.Line, block.RunBy, block.In)
	}
	if block.RunBy != everyPage && !strings.Contains(sources.String(), page.Path) {
		t.Errorf("%s:%d: no test in %s reads %s", page.Path, block.Line, block.In, page.Path)
	}
}

var (
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code = regexp.MustCompile("`[^`]*`")
)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, line := range page.Prose {
			for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
				follow(t, page, found[1])
			}
		}
	}
}

func follow(t *testing.T, page Page, to string) {
	t.Helper()
	if strings.Contains(to, "://") {
		return
	}
	file, heading, _ := strings.Cut(to, "#")
	target := path.Join(path.Dir(page.Path), file)
	if file == "" {
		target = page.Path
	}
	if _, err := os.Stat(filepath.Join(top, target)); err != nil {
		t.Errorf("%s: the link to %s leads nowhere", page.Path, to)
		return
	}
	if heading == "" {
		return
	}
	there, err := Read(top, target)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(anchors(there), heading) {
		t.Errorf("%s: %s has no heading %s", page.Path, target, heading)
	}
}

// anchors are the names that GitHub gives to a page's headings.
func anchors(page Page) []string {
	var found []string
	for _, line := range page.Prose {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		heading = link.ReplaceAllString(strings.ToLower(heading), "")
		found = append(found, notInAnchor.ReplaceAllString(strings.ReplaceAll(strings.TrimSpace(heading), " ", "-"), ""))
	}
	return found
}

var notInAnchor = regexp.MustCompile(`[^a-z0-9_-]`)

func TestPagesAreReadAsTheyStand(t *testing.T) {
	page := parse("page.md", strings.Join([]string{
		"# A heading", "<!-- run by TestNewcomer, hack/e2e -->", "```sh", "one", "  two", "```", "",
		"1. An item", "   <!-- not run here: it needs a cloud -->", "   ```console", "   $ three", "   ```", "```", "text", "```",
	}, "\n"))
	if len(page.Blocks) != 3 || len(page.RunBy("TestNewcomer")) != 1 {
		t.Fatalf("got %+v", page)
	}
	first, second, third := page.Blocks[0], page.Blocks[1], page.Blocks[2]
	if first.Text != "one\n  two\n" || first.RunBy != "TestNewcomer" || first.In != "hack/e2e" || first.Line != 3 || !first.Shell() {
		t.Errorf("the first block is %+v", first)
	}
	if second.Text != "$ three\n" || second.NotRun != "it needs a cloud" || !second.Shell() {
		t.Errorf("the second block is %+v", second)
	}
	if third.NotRun != "" || third.Language != "" || third.Shell() {
		t.Errorf("the third block is %+v", third)
	}
}
