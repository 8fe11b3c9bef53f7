package email

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// outline is a sink that notes what it is told, and joins it again.
type outline struct {
	joined bytes.Buffer
	notes  []string
	cut    bool
}

func (o *outline) begin(block []byte, cut bool, depth int) (division, error) {
	o.joined.Write(block)
	o.cut = o.cut || cut
	m := parseMedia(parseHeader(block, "").raw("content-type"), "")
	o.notes = append(o.notes, fmt.Sprintf("%d %s", depth, m.name))
	if strings.HasPrefix(m.name, "multipart/") && depth < maxDepth {
		return division{multipart: true, boundary: boundaryParam(m)}, nil
	}
	return division{}, nil
}

func (o *outline) body(content io.Reader) error {
	b, err := io.ReadAll(content)
	o.joined.Write(b)
	o.notes = append(o.notes, fmt.Sprintf("%q", b))
	return err
}

func (o *outline) outside(what between, line []byte) error {
	o.joined.Write(line)
	if what != delimiter {
		o.notes = append(o.notes, fmt.Sprintf("beside %q", line))
	}
	return nil
}

func (o *outline) end(parts int, closed bool) error {
	o.notes = append(o.notes, fmt.Sprintf("end %d %v", parts, closed))
	return nil
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ mail, want string }{
		"plain":        {"A: b\n\nhello\n", `0 |"hello\n"`},
		"no body":      {"A: b\n", `0 |""`},
		"nothing":      {"", `0 |""`},
		"no header":    {"hello there\nyou\n", `0 |"hello there\nyou\n"`},
		"blank header": {"\nhello\n", `0 |"hello\n"`},
		"two parts": {
			"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nA: b\n\ntwo\n--b--\npost\n",
			`0 multipart/mixed|beside "pre\n"|1 |"one"|1 |"two"|beside "post\n"|end 2 true`,
		},
		"crlf": {
			"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n\r\n--b--\r\n",
			`0 multipart/mixed|1 |"one\r\n"|end 1 true`,
		},
		"blanks behind the boundary": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b \t\n\none\n--b-- \n",
			`0 multipart/mixed|1 |"one"|end 1 true`,
		},
		"boundary is the beginning of another": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b1\n\n--b1\n\none\n--b1--\n--b\n\ntwo\n--b--\n",
			`0 multipart/mixed|1 multipart/mixed|2 |"one"|end 1 true|1 |"two"|end 2 true`,
		},
		"a longer line is no boundary": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bb\n--b x\n --b\n--b--\n",
			`0 multipart/mixed|1 |"--bb\n--b x\n --b"|end 1 true`,
		},
		"inner not closed": {
			"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\none\n--o\n\ntwo\n--o--\n",
			`0 multipart/mixed|1 multipart/alternative|2 |"one"|end 1 false|1 |"two"|end 2 true`,
		},
		"nothing closed": {
			"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\none\n",
			`0 multipart/mixed|1 multipart/alternative|2 |"one\n"|end 1 false|end 1 false`,
		},
		"one boundary for both": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
			`0 multipart/mixed|1 multipart/alternative|2 |"one"|end 1 true|1 |"two"|end 2 true`,
		},
		"header without end": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nA: b\n--b\nA: c\n--b--\n",
			`0 multipart/mixed|1 |""|1 |""|end 2 true`,
		},
		"multipart header without end": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n--b\n\nx\n--b--\n",
			`0 multipart/mixed|1 multipart/mixed|end 0 false|1 |"x"|end 2 true`,
		},
		"part without header": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nhello you\n--b--\n",
			`0 multipart/mixed|1 |"hello you"|end 1 true`,
		},
		"no boundary named": {
			"Content-Type: multipart/mixed\n\npre\n--x\n\none\n--x--\n",
			`0 multipart/mixed|beside "pre\n"|1 |"one"|end 1 true`,
		},
		"no boundary at all": {
			"Content-Type: multipart/mixed; boundary=b\n\nhello\n",
			`0 multipart/mixed|beside "hello\n"|end 0 false`,
		},
		"empty parts": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n\n\n--b--",
			`0 multipart/mixed|1 |""|1 |""|end 2 true`,
		},
		"mail within": {
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--i--\n--b--\n",
			`0 multipart/mixed|1 message/rfc822|"Content-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--i--"|end 1 true`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _ := splitAll(t, strings.NewReader(c.mail))
			if got := strings.Join(o.notes, "|"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if o.joined.String() != c.mail {
				t.Errorf("joined %q", o.joined.String())
			}
			slow, _ := splitAll(t, iotest.OneByteReader(strings.NewReader(c.mail)))
			if strings.Join(slow.notes, "|") != strings.Join(o.notes, "|") {
				t.Error("one byte at a time gives something else")
			}
		})
	}
}

func splitAll(t *testing.T, r io.Reader) (*outline, [sha256.Size]byte) {
	t.Helper()
	o, sum := &outline{}, sha256.New()
	if err := newSplitter(r, o, sum).split(); err != nil {
		t.Fatal(err)
	}
	return o, [sha256.Size]byte(sum.Sum(nil))
}

// TestSplitAtBuffer moves a boundary and its line end over every place around
// the end of the line buffer.
func TestSplitAtBuffer(t *testing.T) {
	t.Parallel()
	const top = "Content-Type: multipart/mixed; boundary=bound\r\n\r\n--bound\r\n\r\n"
	for shift := -20; shift <= 20; shift++ {
		for _, filling := range []string{strings.Repeat("x", lineBuffer-len(top)+shift), strings.Repeat("x", lineBuffer+shift), strings.Repeat("x\r\n", (lineBuffer-len(top)+shift)/3)} {
			mail := top + filling + "\r\n--bound\r\n\r\ntwo\r\n--bound--\r\n"
			o, _ := splitAll(t, strings.NewReader(mail))
			want := []string{"0 multipart/mixed", "1 ", fmt.Sprintf("%q", filling), "1 ", `"two"`, "end 2 true"}
			if o.joined.String() != mail || strings.Join(o.notes, "|") != strings.Join(want, "|") {
				t.Errorf("shift %d: %d notes", shift, len(o.notes))
			}
		}
	}
}

// TestBodyHash: the hash is of the bytes behind the header, whatever they are.
func TestBodyHash(t *testing.T) {
	t.Parallel()
	const content = "pre\r\n--b\r\nA: b\r\n\r\none\r\n--b--\r\npost"
	_, sum := splitAll(t, strings.NewReader("Content-Type: multipart/mixed; boundary=b\r\n\r\n"+content))
	if sum != sha256.Sum256([]byte(content)) {
		t.Error("another hash")
	}
	_, sum = splitAll(t, strings.NewReader("no header here\r\nat all"))
	if sum != sha256.Sum256([]byte("no header here\r\nat all")) {
		t.Error("another hash without a header")
	}
}

func TestSplitErrors(t *testing.T) {
	t.Parallel()
	const mail = "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\nA: b\n\none\n--b--\npost\n"
	for n := range len(mail) {
		broken := io.MultiReader(strings.NewReader(mail[:n]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if err := newSplitter(broken, &outline{}, sha256.New()).split(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("broken at %d gives %v", n, err)
		}
	}
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("=E9=80=80", 4000)
	for name, c := range map[string]struct{ encoding, in, want string }{
		"base64":                    {"base64", "aGVs\r\nbG8=\r\n", "hello"},
		"base64 without padding":    {"BASE64", "aGVsbG8", "hello"},
		"base64 glued":              {"base64", "aGk=aGk=", "hihi"},
		"base64 with dirt":          {"base64", "a-G*V\x00s bG8=!", "hello"},
		"base64 one char left":      {"base64", "aGVsbG8=a", "hello"},
		"quoted-printable":          {"quoted-printable", "a=3Db=\r\nc  \r\nd", "a=bc\r\nd"},
		"quoted-printable broken":   {"quoted-printable", "100% = =ZZ =4", "100% = =ZZ =4"},
		"quoted-printable one line": {"quoted-printable", long, strings.Repeat("退", 4000)},
		"8bit":                      {"8bit", "退=3D", "退=3D"},
		"unknown":                   {"x-none", "abc", "abc"},
		"uuencode":                  {"x-uuencode", "begin 644 a\n#0V%T\n`\nend\n", "Cat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
				if got, err := io.ReadAll(decoded(in, c.encoding)); err != nil || string(got) != c.want {
					t.Errorf("got %.200q, %v", got, err)
				}
			}
		})
	}
}

// TestQuotedAtBuffer moves a code over the end of the decoder's buffer.
func TestQuotedAtBuffer(t *testing.T) {
	t.Parallel()
	for shift := range 12 {
		x := strings.Repeat("x", 4090+shift)
		for _, c := range [][2]string{{"=41y", "Ay"}, {"=\r\ny", "y"}, {"=\ny", "y"}, {"=", ""}, {"=4", "=4"}, {"==41", "=A"}} {
			if got, err := io.ReadAll(decoded(strings.NewReader(x+c[0]), "quoted-printable")); err != nil || string(got) != x+c[1] {
				t.Errorf("%d %q: got %q, %v", shift, c[0], got[4085:], err)
			}
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(onWire(simpleMail)))
	f.Add([]byte("Content-Type: multipart/mixed\n\n--x\n\none\n--x--\n"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n--b\n\r\n--b--"))
	f.Add([]byte("A: b\r\n\r\n\r"))
	f.Add([]byte("Content-Type: multipart/x; boundary=\"\"\n\n--\n--a\nx\r\r\n--a\n"))
	f.Fuzz(func(t *testing.T, mail []byte) {
		o, _ := splitAll(t, bytes.NewReader(mail))
		if !o.cut && !bytes.Equal(o.joined.Bytes(), mail) {
			t.Errorf("%q\ngives %q", mail, o.joined.Bytes())
		}
		slow, _ := splitAll(t, iotest.HalfReader(bytes.NewReader(mail)))
		if !bytes.Equal(slow.joined.Bytes(), o.joined.Bytes()) || strings.Join(slow.notes, "|") != strings.Join(o.notes, "|") {
			t.Errorf("%q: what is read depends on how it comes", mail)
		}
	})
}
