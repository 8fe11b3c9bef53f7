package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// source says where an effective value came from.
type source string

const (
	fromDefault source = "default"
	fromFile    source = "file"
	fromEnv     source = "environment"
	fromFlag    source = "flag"
)

// settings answers kong's question for the value of a flag that is not on the
// command line: the environment first, then the file.
type settings struct {
	env  func(string) string
	path string
	file map[string]any
	used map[string]source
}

// find reads the file that the command line or the environment names. It runs
// before the real parse, because all other values depend on it.
func (s *settings) find(parser *kong.Kong, args []string) error {
	s.path = s.env(variable("config"))
	ctx, err := kong.Trace(parser, args)
	if err != nil {
		return err
	}
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == "config" {
			s.path, _ = ctx.FlagValue(p.Flag).(string)
		}
		if p.Flag != nil && p.Flag.Name == "help" {
			// Help must work beside a broken file.
			return nil
		}
	}
	if s.path == "" {
		return nil
	}
	return s.load(separators(parser.Model.Node))
}

// load reads the file into plain texts, the form that the environment has, so
// that a value means the same wherever it stands.
func (s *settings) load(known map[string]rune) error {
	text, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("read the configuration file: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("configuration file %s is not a YAML mapping: %s", s.path, firstLine(err))
	}
	s.file = make(map[string]any, len(values))
	for _, key := range sortedKeys(values) {
		sep, ok := known[key]
		if !ok {
			return fmt.Errorf("configuration file %s: unknown key %q%s", s.path, key, suggest(key, known))
		}
		if list, ok := values[key].([]any); ok && len(list) == 0 {
			// As a text it would be a list of one empty item.
			s.file[key] = list
			continue
		}
		if s.file[key], err = plain(values[key], sep); err != nil {
			return fmt.Errorf("configuration file %s: key %q %w", s.path, key, err)
		}
	}
	return nil
}

// Validate has nothing to add: load has refused unknown keys.
func (s *settings) Validate(*kong.Application) error { return nil }

// Resolve is kong's question for the value of a flag.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Name == "help" || flag.Name == "config" {
		return nil, nil
	}
	if v := s.env(variable(flag.Name)); v != "" {
		s.used[flag.Name] = fromEnv
		return v, nil
	}
	if v, ok := s.file[flag.Name]; ok {
		s.used[flag.Name] = fromFile
		return v, nil
	}
	return nil, nil
}

// separators lists every setting of the program with the sign between the
// items of its list.
func separators(n *kong.Node) map[string]rune {
	names := map[string]rune{}
	for _, f := range n.Flags {
		if f.Name != "help" && f.Name != "config" {
			names[f.Name] = f.Tag.Sep
		}
	}
	for _, child := range n.Children {
		for name, sep := range separators(child) {
			names[name] = sep
		}
	}
	return names
}

// plain writes a YAML value as one text.
func plain(v any, sep rune) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", errors.New("has no value")
	case map[string]any:
		return "", errors.New("holds a mapping where a value or a list is expected")
	case []any:
		items := make([]string, 0, len(v))
		for _, item := range v {
			text, err := plain(item, sep)
			if err != nil {
				return "", err
			}
			items = append(items, text)
		}
		return strings.Join(items, string(sep)), nil
	default:
		return fmt.Sprint(v), nil
	}
}

// suggest names the known key that is nearest, for a slip of the pen.
func suggest(key string, known map[string]rune) string {
	folded := strings.ReplaceAll(strings.ToLower(key), "_", "-")
	best, least := "", 3
	for _, name := range sortedKeys(known) {
		if d := distance(folded, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is the number of single edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// firstLine keeps the sentence of a YAML error; the rest quotes the file, and
// with it perhaps a password.
func firstLine(err error) string {
	text, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	return text
}
