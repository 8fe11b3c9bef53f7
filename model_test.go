package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	fileNamed = regexp.MustCompile("`([a-z0-9_/]+\\.(?:go|js))`: ((?:(?:`\\w+`|\"[^\"]+\")(?:, )?)+)")
	testNamed = regexp.MustCompile("`(\\w+)`|\"([^\"]+)\"")
	reasoned  = regexp.MustCompile(`not yet: \w|\(pending merge\)`)
)

// TestEveryRuleOfTheModelHasItsTest holds docs/model-tests.md to the repository: what it names exists, and no rule stands
// there with neither a test nor a reason.
func TestEveryRuleOfTheModelHasItsTest(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/model-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, named := 0, 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 2 || cells[0] == "| rule" {
			continue
		}
		rules++
		found := fileNamed.FindAllStringSubmatch(cells[1], -1)
		if len(found) == 0 && !reasoned.MatchString(cells[1]) {
			t.Errorf("no test and no reason: %s", line)
		}
		for _, f := range found {
			for _, x := range testNamed.FindAllStringSubmatch(f[2], -1) {
				named++
				declared(t, f[1], x[1], x[2])
			}
		}
	}
	if rules < 50 || named < 100 {
		t.Errorf("%d rules with %d tests were read: the page has another form", rules, named)
	}
}

// declared checks that a file has a test of Go by its name, or a step of a script by its title.
func declared(t *testing.T, path, name, title string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	want := "func " + name + "(t *testing.T)"
	if title != "" {
		want = "step('" + title + "'"
	}
	if !strings.Contains(string(text), want) {
		t.Errorf("%s has no %s", path, want)
	}
}
