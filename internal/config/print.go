package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Print writes the effective values as a file that --config reads again, each
// with the place it came from. Passwords are hidden.
func (c *Config) Print(w io.Writer) error {
	if c.File != "" {
		if _, err := fmt.Fprintf(w, "# file: %s\n", c.File); err != nil {
			return err
		}
	}
	return c.printFields(w, reflect.ValueOf(*c))
}

func (c *Config) printFields(w io.Writer, v reflect.Value) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if _, embedded := field.Tag.Lookup("embed"); embedded {
			if err := c.printFields(w, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		name := field.Tag.Get("name")
		if name == "" {
			continue
		}
		text, err := yaml.MarshalWithOptions(printable(v.Field(i)), yaml.Flow(true))
		if err != nil {
			return fmt.Errorf("print %s: %w", name, err)
		}
		from, ok := c.sources[name]
		if !ok {
			from = fromDefault
		}
		if _, err := fmt.Fprintf(w, "%s: %s # %s\n", name, strings.TrimSpace(string(text)), from); err != nil {
			return err
		}
	}
	return nil
}

// printable is a value as YAML has it: texts, booleans, lists of texts.
func printable(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case bool, string:
		return x
	case time.Duration:
		return shortDuration(x)
	case fmt.Stringer:
		return x.String()
	}
	if v.Kind() == reflect.Slice {
		list := make([]string, 0, v.Len())
		for i := range v.Len() {
			list = append(list, fmt.Sprint(v.Index(i).Interface()))
		}
		return list
	}
	return fmt.Sprint(v.Interface())
}
