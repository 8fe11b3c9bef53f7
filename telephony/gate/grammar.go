package gate

import (
	"errors"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// errGrammar: the text does not follow the grammar of RFC 3261 section 25.
var errGrammar = errors.New("malformed")

// param is one parameter; the name in lower case, the value as written, with its quotation marks.
type param struct{ name, value string }

type params []param

// get is the value of a parameter, and whether it is there.
func (p params) get(name string) (string, bool) {
	for _, x := range p {
		if x.name == name {
			return x.value, true
		}
	}
	return "", false
}

func (p params) write(b *strings.Builder) {
	for _, x := range p {
		b.WriteByte(';')
		b.WriteString(x.name)
		if x.value != "" {
			b.WriteByte('=')
			b.WriteString(x.value)
		}
	}
}

// address is a name-addr or addr-spec with the parameters of its header field: section 20.10.
type address struct {
	// name is the display name without its quotation marks, its escapes kept.
	name   string
	uri    string
	params params
}

// String writes it with angle brackets, so that no parameter changes its owner.
func (a address) String() string {
	if a.uri == "*" {
		return "*"
	}
	var b strings.Builder
	if a.name != "" {
		b.WriteString(`"` + a.name + `" `)
	}
	b.WriteString("<" + a.uri + ">")
	a.params.write(&b)
	return b.String()
}

// tag is the tag parameter, "" without one.
func (a address) tag() string {
	t, _ := a.params.get("tag")
	return t
}

// via is one hop: section 20.42.
type via struct {
	transport, host string
	port            int
	params          params
}

func (v via) String() string {
	var b strings.Builder
	b.WriteString("SIP/2.0/" + v.transport + " " + v.host)
	if v.port > 0 {
		b.WriteString(":" + strconv.Itoa(v.port))
	}
	v.params.write(&b)
	return b.String()
}

// branch is the branch parameter, "" without one.
func (v via) branch() string {
	b, _ := v.params.get("branch")
	return b
}

// cursor walks over the value of a header field.
type cursor struct {
	s string
	i int
}

func (c *cursor) end() bool { return c.i >= len(c.s) }

func (c *cursor) peek() byte {
	if c.end() {
		return 0
	}
	return c.s[c.i]
}

func (c *cursor) space() {
	for !c.end() && (c.s[c.i] == ' ' || c.s[c.i] == '\t') {
		c.i++
	}
}

// take goes over b, with white space around it.
func (c *cursor) take(b byte) bool {
	c.space()
	if c.peek() != b || c.end() {
		return false
	}
	c.i++
	c.space()
	return true
}

// while goes on as long as ok holds and returns what it went over.
func (c *cursor) while(ok func(byte) bool) string {
	from := c.i
	for !c.end() && ok(c.s[c.i]) {
		c.i++
	}
	return c.s[from:c.i]
}

// quoted reads a quoted-string and returns it with its marks.
func (c *cursor) quoted() (string, error) {
	from := c.i
	for c.i++; !c.end(); c.i++ {
		switch c.s[c.i] {
		case '\\':
			c.i++
		case '"':
			c.i++
			return c.s[from:c.i], nil
		}
	}
	return "", errGrammar
}

// params reads parameters up to the end or a comma.
func (c *cursor) params() (params, error) {
	var out params
	for c.take(';') {
		name := strings.ToLower(c.while(isTokenByte))
		if name == "" {
			return nil, errGrammar
		}
		p := param{name: name}
		if c.take('=') {
			var err error
			if p.value, err = c.value(); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	c.space()
	if !c.end() && c.peek() != ',' {
		return nil, errGrammar
	}
	return out, nil
}

func (c *cursor) value() (string, error) {
	if c.peek() == '"' {
		return c.quoted()
	}
	v := c.while(func(b byte) bool { return isTokenByte(b) || strings.IndexByte("[]:/", b) >= 0 || b >= 0x80 })
	if v == "" {
		return "", errGrammar
	}
	return v, nil
}

// address reads one address with its parameters.
func (c *cursor) address() (a address, err error) {
	c.space()
	if c.peek() == '"' {
		q, err := c.quoted()
		if err != nil {
			return a, err
		}
		a.name = q[1 : len(q)-1]
		c.space()
		if c.peek() != '<' {
			return a, errGrammar
		}
	} else {
		from := c.i
		words := c.while(func(b byte) bool { return isTokenByte(b) || b == ' ' || b == '\t' || b >= 0x80 })
		if c.peek() == '<' {
			a.name = strings.TrimRight(words, " \t")
		} else {
			c.i = from
		}
	}
	if c.peek() == '<' {
		c.i++
		inside, _, ok := strings.Cut(c.s[c.i:], ">")
		if !ok {
			return a, errGrammar
		}
		c.i += len(inside) + 1
		a.uri = strings.Trim(inside, " \t")
	} else {
		// Without brackets a comma, a question mark or a semicolon in the URI cannot be: section 20.10.
		a.uri = c.while(func(b byte) bool { return strings.IndexByte(" \t,;?<>\"", b) < 0 })
	}
	if err := checkURI(a.uri); err != nil && a.uri != "*" {
		return a, err
	}
	a.params, err = c.params()
	return a, err
}

// via reads one hop.
func (c *cursor) via() (v via, err error) {
	c.space()
	name := c.while(isTokenByte)
	ok := strings.EqualFold(name, "SIP") && c.take('/')
	version := c.while(isTokenByte)
	ok = ok && version == "2.0" && c.take('/')
	v.transport = strings.ToUpper(c.while(isTokenByte))
	if !ok || v.transport == "" || c.peek() != ' ' && c.peek() != '\t' {
		return v, errGrammar
	}
	c.space()
	if c.peek() == '[' {
		v.host = c.while(func(b byte) bool { return b != ']' })
		if !c.take(']') {
			return v, errGrammar
		}
		v.host += "]"
	} else {
		v.host = c.while(func(b byte) bool { return isTokenByte(b) && b != '%' })
	}
	if v.host == "" {
		return v, errGrammar
	}
	if c.take(':') {
		v.port, err = strconv.Atoi(c.while(func(b byte) bool { return b >= '0' && b <= '9' }))
		if err != nil || v.port < 1 || v.port > 65535 {
			return v, errGrammar
		}
	}
	v.params, err = c.params()
	return v, err
}

// parseAddress reads the value of a field that holds one address and nothing else.
func parseAddress(s string) (address, error) {
	c := cursor{s: s}
	a, err := c.address()
	if err == nil && !c.end() {
		err = errGrammar
	}
	return a, err
}

// parseList reads values that commas part; it wants at least one.
func parseList[T any](values []string, read func(*cursor) (T, error)) (out []T, err error) {
	for _, s := range values {
		c := cursor{s: s}
		for {
			x, err := read(&c)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
			if !c.take(',') {
				break
			}
		}
		if !c.end() {
			return nil, errGrammar
		}
	}
	return out, nil
}

// checkURI refuses what is no URI, and what the SIP library could not read of a URI of SIP.
func checkURI(s string) error {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || scheme == "" || !isAlpha(scheme[0]) {
		return errGrammar
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || strings.IndexByte(`<>"`, s[i]) >= 0 {
			return errGrammar
		}
	}
	var u sip.Uri
	if err := sip.ParseUri(s, &u); err != nil {
		return errGrammar
	}
	if isSIP(s) && (u.Host == "" || u.Wildcard || u.Port < 0 || u.Port > 65535) {
		return errGrammar
	}
	return nil
}

// isSIP reports whether it is a URI of the schemes sip and sips.
func isSIP(uri string) bool {
	scheme, _, _ := strings.Cut(uri, ":")
	return strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")
}

func isAlpha(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// isTokenByte: RFC 3261 section 25.1, token.
func isTokenByte(b byte) bool {
	return isAlpha(b) || b >= '0' && b <= '9' || strings.IndexByte("-.!%*_+`'~", b) >= 0
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// userPart is the user of a URI of SIP with its escapes undone (section 19.1.4), or the number of a tel URI; "" without
// one.
func userPart(uri string) string {
	_, rest, _ := strings.Cut(uri, ":")
	if isSIP(uri) {
		at := strings.LastIndexByte(rest, '@')
		if at < 0 {
			return ""
		}
		rest = rest[:at]
		if i := strings.IndexByte(rest, ':'); i >= 0 { // a password
			rest = rest[:i]
		}
	} else if i := strings.IndexByte(rest, ';'); i >= 0 {
		rest = rest[:i]
	}
	return unescape(rest)
}

// unescape undoes %HH; an escape that is none stays.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unquote undoes the escapes of a quoted-string whose marks are gone.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
