package all_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tributary/channels"
	_ "tributary/channels/all"
)

const root = "../.."

// rooms are those that must not know a kind's name. Generated code and tests may
// hold one as data.
var rooms = []string{"desk", "router", "graph", "knowledge", "insight", "internal", "telephony"}

// TestEveryFolderIsListed: a kind that is not imported would be missing from the
// binary without a word.
func TestEveryFolderIsListed(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join(root, "channels"))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := os.ReadFile("all.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	for _, e := range entries {
		switch e.Name() {
		case "all", "channeltest", "internal", "voice": // voice: ports, no kind
			continue
		}
		if !e.IsDir() {
			continue
		}
		kinds++
		if !strings.Contains(string(listed), `_ "tributary/channels/`+e.Name()+`"`) {
			t.Errorf("channels/%s is not imported here", e.Name())
		}
	}
	if registered := len(channels.Kinds()); registered != kinds {
		t.Errorf("%d kinds are registered by %d folders", registered, kinds)
	}
}

// TestNoKindNameInTheCore: the core treats all channels alike; what differs is
// asked from the channel.
func TestNoKindNameInTheCore(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, k := range channels.Kinds() {
		names[k.Name] = true
	}
	for _, room := range rooms {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return fs.SkipAll // The room is not built yet.
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "exec" || d.Name() == "model" || d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test")): // generated, or for tests alone
				return fs.SkipDir
			case path == filepath.Join(root, "internal", "demo"): // no part of the core: an integrator, who makes channels of the kinds that he wants
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, found := range kindNames(path, source, names) {
				t.Errorf("%s names a kind of channel; ask the channel instead", found)
			}
			return nil
		})
		if err != nil {
			t.Errorf("room %s: %v", room, err)
		}
	}
}

// TestKindNamesAreFound is the control of the one above.
func TestKindNamesAreFound(t *testing.T) {
	t.Parallel()
	source := "package p\n\n// webchat is only a word here.\n" +
		"var a = kind == \"webchat\"\nvar b = `custom`\nvar c = \"custom fields\"\n" +
		"type d struct{ E int `json:\"custom\"` }\n" +
		"var f = refuse(\"input\", \"custom\")\nvar g = equal(kind, \"custom\")\n"
	found := kindNames("p.go", []byte(source), map[string]bool{"webchat": true, "custom": true})
	if len(found) != 3 {
		t.Errorf("found %v, want the two literals and the argument", found)
	}
}

// kindNames lists the places of string literals that are exactly a kind's name. What follows "input" among a call's
// arguments is the path of a field of the contract, which may be called like a kind.
func kindNames(path string, source []byte, names map[string]bool) []string {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil // A file that does not compile fails elsewhere.
	}
	var found []string
	paths := map[ast.Node]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if call, is := n.(*ast.CallExpr); is {
			for i, arg := range call.Args[:max(len(call.Args)-1, 0)] {
				paths[call.Args[i+1]] = textOf(arg) == "input"
			}
		}
		if names[textOf(n)] && !paths[n] {
			found = append(found, files.Position(n.Pos()).String())
		}
		return true
	})
	return found
}

// textOf is the value of a string literal; empty for every other node.
func textOf(n ast.Node) string {
	literal, ok := n.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return text
}
