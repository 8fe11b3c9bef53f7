package email

import (
	"bufio"
	"encoding/base64"
	"html"
	"io"
	"mime/quotedprintable"
	"regexp"
	"strconv"
	"strings"

	"tributary/channels"
	"tributary/internal/clean"
)

// content takes a message's parts apart into text and files.
func (l *letter) content(parts []channels.Part, signature string) {
	var texts []string
	for _, p := range parts {
		if t := strings.TrimRight(clean.Text(plainPart(p)), " \n"); t != "" {
			texts = append(texts, t)
		}
		if p.Media != nil {
			l.files = append(l.files, *p.Media)
		}
	}
	l.text = strings.Join(texts, "\n\n")
	if l.text == "" && len(l.files) == 0 {
		return
	}
	l.html = htmlOf(l.text)
	if signature = strings.TrimSpace(clean.Text(signature)); signature != "" {
		// The line by which programs tell a signature (RFC 3676 section 4.3).
		l.text = strings.TrimLeft(l.text+"\n\n-- \n"+signature, "\n")
		l.html += "<p>-- <br>\n" + lines(signature) + "</p>\n"
	}
	l.text += "\n"
	l.html = "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>\n" + l.html + "</body></html>\n"
}

// plainPart is a part as text; a mail has no other form for a link or a place.
func plainPart(p channels.Part) string {
	switch {
	case p.URL != "":
		return strings.Join(strings.Fields(p.Title), " ") + "\n" + p.URL + "\n" + p.Text
	case p.Location != nil:
		number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
		return p.Location.Label + "\n" + number(p.Location.Latitude) + ", " + number(p.Location.Longitude) + "\n" + p.Text
	}
	return p.Text
}

// htmlOf makes paragraphs of a text, with its links.
func htmlOf(text string) string {
	var b strings.Builder
	for block := range strings.SplitSeq(text, "\n\n") {
		if block = strings.Trim(block, "\n"); block != "" {
			b.WriteString("<p>" + lines(block) + "</p>\n")
		}
	}
	return b.String()
}

func lines(block string) string {
	list := strings.Split(block, "\n")
	for i, line := range list {
		list[i] = linked(line)
	}
	return strings.Join(list, "<br>\n")
}

// linkShape ends at the first letter beyond ASCII: Chinese puts none of its own
// signs around an address.
var linkShape = regexp.MustCompile(`\bhttps?://[!#-;=?-~]+`)

// linked escapes a line and makes links of the addresses in it.
func linked(line string) string {
	var b strings.Builder
	for {
		at := linkShape.FindStringIndex(line)
		if at == nil {
			break
		}
		link := strings.TrimRight(line[at[0]:at[1]], ".,:;!?'")
		if !strings.Contains(link, "(") {
			link = strings.TrimRight(link, ").,:;!?'")
		}
		shown := html.EscapeString(link)
		b.WriteString(html.EscapeString(line[:at[0]]) + `<a href="` + shown + `">` + shown + "</a>")
		line = line[at[0]+len(link):]
	}
	b.WriteString(html.EscapeString(line))
	return b.String()
}

// encodeText writes the encoding, the blank line and a text. What is mostly
// beyond ASCII is shorter in base64; what is not stays readable.
func encodeText(w *bufio.Writer, text string) {
	beyond := 0
	for i := range len(text) {
		if text[i] > '~' {
			beyond++
		}
	}
	var to io.WriteCloser
	if beyond*6 > len(text) {
		_, _ = w.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		to = encoder(w)
		text = strings.ReplaceAll(text, "\n", "\r\n")
	} else {
		_, _ = w.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
		to = quotedprintable.NewWriter(w)
	}
	_, _ = io.WriteString(to, text) // The writer keeps its error for Flush.
	_ = to.Close()
	_, _ = w.WriteString("\r\n")
}

// encoder writes base64 in lines of 76 (RFC 2045 section 6.8).
func encoder(w io.Writer) io.WriteCloser {
	return base64.NewEncoder(base64.StdEncoding, &breaker{w: w})
}

type breaker struct {
	w      io.Writer
	column int
}

// Write implements io.Writer.
func (b *breaker) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if b.column == 76 {
			if _, err := io.WriteString(b.w, "\r\n"); err != nil {
				return written, err
			}
			b.column = 0
		}
		n, err := b.w.Write(p[:min(len(p), 76-b.column)])
		written, b.column, p = written+n, b.column+n, p[n:]
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
