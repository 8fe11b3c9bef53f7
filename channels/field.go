package channels

import (
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// field is what the tags of one setting say; the words are those of
// ConfigSchema.
type field struct {
	index             int
	name, title, doc  string
	fallback, format  string
	enum              []string
	min, max          *int64
	required, rotates bool
	secret            bool
}

var secretType = reflect.TypeFor[Secret]()

// structFields reads the tags of a configuration. Register runs it over every
// kind, so that a wrong tag stops the binary and not an operator.
func structFields(t reflect.Type) ([]field, error) {
	if t.Kind() != reflect.Struct {
		return nil, &FieldError{"", "config " + t.String() + " is no struct"}
	}
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		sf := t.Field(i)
		f, err := readField(t, sf)
		if err != nil {
			return nil, err
		}
		f.index = i
		fields = append(fields, f)
	}
	return fields, nil
}

func readField(t reflect.Type, sf reflect.StructField) (field, error) {
	tag := sf.Tag
	f := field{
		name: tag.Get("json"), title: tag.Get("title"), doc: tag.Get("doc"),
		fallback: tag.Get("default"), format: tag.Get("format"),
		required: tag.Get("required") == "true", rotates: tag.Get("rotates") == "true",
		secret: sf.Type == secretType,
	}
	if !sf.IsExported() || f.name == "" || strings.ContainsAny(f.name, ",-. ") {
		return f, typeError(t, sf, "must be exported with a plain json name")
	}
	if f.title == "" {
		f.title = titleOf(f.name)
	}
	if enum := tag.Get("enum"); enum != "" {
		f.enum = strings.Split(enum, ",")
	}
	if f.format != "" && f.format != "url" && f.format != "origin" {
		return f, typeError(t, sf, "format %q is unknown", f.format)
	}
	for key, bound := range map[string]**int64{"min": &f.min, "max": &f.max} {
		if text := tag.Get(key); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return f, typeError(t, sf, "%s is no number", key)
			}
			*bound = &n
		}
	}
	if f.secret {
		return f, nil
	}
	return f, checkType(t, sf, f)
}

func checkType(t reflect.Type, sf reflect.StructField, f field) error {
	inner := sf.Type
	switch inner.Kind() {
	case reflect.String:
		return nil
	case reflect.Bool:
		if f.fallback != "" && f.fallback != "true" {
			return typeError(t, sf, "default of a bool is true or left out")
		}
		return nil
	case reflect.Int, reflect.Int64:
		if _, err := strconv.ParseInt(f.fallback, 10, 64); f.fallback != "" && err != nil {
			return typeError(t, sf, "default is no number")
		}
		return nil
	case reflect.Slice, reflect.Pointer:
		inner = inner.Elem()
		if sf.Type.Kind() == reflect.Slice && inner.Kind() == reflect.String {
			break
		}
		fallthrough
	case reflect.Struct:
		if inner == secretType || inner.Kind() != reflect.Struct {
			return typeError(t, sf, "type %s cannot be a setting", sf.Type)
		}
		if _, err := structFields(inner); err != nil {
			return err
		}
	default:
		return typeError(t, sf, "type %s cannot be a setting", sf.Type)
	}
	if f.fallback != "" {
		return typeError(t, sf, "type %s takes no default", sf.Type)
	}
	return nil
}

// check applies the tags to a decoded value.
func (f field) check(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.String:
		if f.required && v.String() == "" {
			return &FieldError{path, "is required"}
		}
		if err := f.checkText(v.String(), path); err != nil {
			return err
		}
		return f.checkBounds(int64(utf8.RuneCountInString(v.String())), path, " characters")
	case reflect.Slice:
		for i := range v.Len() {
			if item := v.Index(i); item.Kind() == reflect.String {
				if err := f.checkText(item.String(), path+"["+strconv.Itoa(i)+"]"); err != nil {
					return err
				}
			}
		}
		return f.checkBounds(int64(v.Len()), path, " entries")
	case reflect.Int, reflect.Int64:
		return f.checkBounds(v.Int(), path, "")
	}
	return nil
}

func (f field) checkText(text, path string) error {
	switch {
	case len(f.enum) > 0 && !slices.Contains(f.enum, text):
		return &FieldError{path, "must be one of " + strings.Join(f.enum, ", ")}
	case text == "":
		return nil
	case f.format == "url" && !isURL(text):
		return &FieldError{path, "must be an http or https address without a name or a fragment in it"}
	case f.format == "origin" && !isOrigin(text):
		return &FieldError{path, "must be an origin such as https://www.example.com"}
	}
	return nil
}

func (f field) checkBounds(n int64, path, unit string) error {
	switch {
	case f.min != nil && n < *f.min:
		return &FieldError{path, "must be at least " + strconv.FormatInt(*f.min, 10) + unit}
	case f.max != nil && n > *f.max:
		return &FieldError{path, "must be at most " + strconv.FormatInt(*f.max, 10) + unit}
	}
	return nil
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") &&
		u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// isOrigin takes what a browser sends as Origin, and "*." before the host. The
// scheme may be an app's own (capacitor, tauri).
func isOrigin(text string) bool {
	scheme, host, ok := strings.Cut(text, "://")
	host = strings.TrimPrefix(host, "*.")
	if !ok || scheme == "" || host == "" {
		return false
	}
	u, err := url.Parse(scheme + "://" + host)
	return err == nil && u.Host == host && u.Hostname() != "" && !strings.ContainsAny(host, "*@")
}
