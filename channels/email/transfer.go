package email

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// decoded undoes a Content-Transfer-Encoding while reading. Nothing in it fails
// but the reader: what is no code is skipped or kept, for half a file is worth
// more to a person than none.
func decoded(r io.Reader, encoding string) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return &base64Reader{in: r}
	case "quoted-printable":
		return &quotedReader{in: bufio.NewReader(r)}
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return &uuReader{in: bufio.NewReader(r)}
	}
	return r
}

// base64Reader skips what is not of the alphabet and begins anew after each
// padding, so that files glued together come out whole.
type base64Reader struct {
	in    io.Reader
	raw   [8 << 10]byte
	out   []byte // decoded, in raw's own room: it is always shorter
	quad  uint32
	chars int
	err   error
}

// Read implements io.Reader.
func (d *base64Reader) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		var n int
		n, d.err = d.in.Read(d.raw[4:])
		d.decode(n)
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

func (d *base64Reader) decode(n int) {
	d.out = d.raw[:0]
	for _, c := range d.raw[4 : 4+n] {
		v := base64Value[c]
		switch {
		case c == '=':
			d.flush()
		case v >= 0:
			d.quad = d.quad<<6 | uint32(v)
			if d.chars++; d.chars == 4 {
				d.flush()
			}
		}
	}
	if d.err != nil {
		d.flush()
	}
}

// flush writes the whole bytes that the collected characters make.
func (d *base64Reader) flush() {
	q := d.quad << (6 * (4 - d.chars))
	for i := range d.chars - 1 {
		d.out = append(d.out, byte(q>>(16-8*i)))
	}
	d.quad, d.chars = 0, 0
}

var base64Value = func() (table [256]int8) {
	for i := range table {
		table[i] = -1
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		table[c] = int8(i)
	}
	return table
}()

// quotedReader decodes quoted-printable (RFC 2045 section 6.7). An equals sign
// that begins no code stays; blanks at the end of a line go.
type quotedReader struct {
	in  *bufio.Reader
	out []byte
	err error
}

// Read implements io.Reader.
func (d *quotedReader) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		var line []byte
		line, d.err = d.in.ReadSlice('\n')
		whole := d.err == nil
		if errors.Is(d.err, bufio.ErrBufferFull) {
			d.err = nil
			line, whole = d.complete(line)
		}
		d.out = unquote(line, whole || d.err != nil)
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// complete adds to a full buffer what belongs to the code at its end. last tells
// that nothing comes behind it.
func (d *quotedReader) complete(line []byte) (whole []byte, last bool) {
	whole = line
	for n := range 64 {
		if end := bytes.LastIndexByte(whole[max(0, len(whole)-2):], '='); end < 0 || whole[len(whole)-1] == '\n' {
			break
		}
		if n == 0 {
			whole = append([]byte(nil), line...) // reading on moves the buffer
		}
		c, err := d.in.ReadByte()
		if err != nil {
			return whole, true
		}
		whole = append(whole, c)
	}
	return whole, false
}

// unquote decodes one line in place; whole tells that its end is the line's.
func unquote(line []byte, whole bool) []byte {
	end := []byte(nil)
	if whole {
		text := line[:len(line)-lineEnd(line)]
		end = line[len(text):]
		line = bytes.TrimRight(text, " \t")
		if bytes.HasSuffix(line, []byte("=")) {
			line, end = line[:len(line)-1], nil
		}
	} else if i := len(line) - lineEnd(line); i >= 1 && i < len(line) && line[i-1] == '=' {
		line = line[:i-1] // a soft line end that the buffer's end has cut off
	}
	out := line[:0]
	for i := 0; i < len(line); i++ {
		if line[i] == '=' && i+2 < len(line) {
			hi, lo := hexValue(line[i+1]), hexValue(line[i+2])
			if hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, line[i])
	}
	return append(out, end...)
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// uuReader decodes uuencode: the lines between "begin" and "end".
type uuReader struct {
	in  *bufio.Reader
	out []byte
	on  bool
	err error
}

// Read implements io.Reader.
func (d *uuReader) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		var line []byte
		line, d.err = d.in.ReadSlice('\n')
		if errors.Is(d.err, bufio.ErrBufferFull) {
			d.err = nil
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case !d.on:
			d.on = bytes.HasPrefix(line, []byte("begin "))
		case string(line) == "end":
			d.on = false
		case len(line) > 0:
			d.out = uuLine(line)
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// uuLine decodes a line: its length, then four characters for three bytes.
func uuLine(line []byte) []byte {
	size := int(line[0]-' ') & 63
	var out []byte
	for rest := line[1:]; len(rest) > 0 && len(out) < size; rest = rest[min(4, len(rest)):] {
		var q uint32
		for i := range 4 {
			q <<= 6
			if i < len(rest) {
				q |= uint32(rest[i]-' ') & 63
			}
		}
		out = append(out, byte(q>>16), byte(q>>8), byte(q))
	}
	return out[:min(size, len(out))]
}
