package email

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/jhillyerd/enmime/v2"

	"tributary/channels"
	"tributary/internal/clean"
)

// parser reads skeletons. It does not guess charsets: for short texts and for
// Chinese it guesses wrong, and repair has done it before.
var parser = enmime.NewParser(
	enmime.SkipMalformedParts(true),
	enmime.SetReadPartErrorPolicy(enmime.AllowCorruptTextPartErrorPolicy),
	enmime.DisableTextConversion(true),
	enmime.DisableCharacterDetection(true),
	enmime.MinCharsetDetectRunes(math.MaxInt),
)

// repair returns a text in a charset that the parser reads rightly, mostly by
// turning it into UTF-8 here. A label that we do not know goes on as it is: the
// parser's table has names that ours has not.
func repair(text []byte, label, locale string, isHTML bool) (repaired []byte, charset string) {
	if isHTML && plainLabel[charsetName(label)] {
		if m := metaLabel.FindSubmatch(text[:min(len(text), 4096)]); m != nil {
			label = string(m[1])
		}
	}
	s, known := toUTF8(text, label, locale)
	label = charsetName(label)
	if known || !mediaWord.MatchString(label) {
		return []byte(s), "utf-8"
	}
	return text, label
}

// byParser decodes a short text by the parser's table of charsets; otherwise is
// what to say where that does not know the label either.
func byParser(b []byte, label, otherwise string) string {
	label = charsetName(label)
	if !mediaWord.MatchString(label) {
		return otherwise
	}
	var mail bytes.Buffer
	fmt.Fprintf(&mail, "Content-Type: text/plain; charset=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n", label)
	writeLines(&mail, b)
	root, err := parser.ReadParts(&mail)
	if err != nil || len(root.Errors) > 0 || clean.Text(string(root.Content)) != string(root.Content) {
		return otherwise
	}
	return string(root.Content)
}

// stretch is one run of the message: a text, its HTML, or both as alternatives.
type stretch struct{ text, html string }

// content is what a person reads of a mail.
type content struct{ stretches []stretch }

// content reads the skeleton.
func (c *collector) content() (content, error) {
	root, err := parser.ReadParts(&c.skeleton)
	c.skeleton = bytes.Buffer{}
	if err != nil {
		return content{}, fmt.Errorf("parse mail: %w", err)
	}
	return content{stretches: c.stretches(root)}, nil
}

// stretches goes through the parts in order. Of alternatives the first text and
// the last HTML count (RFC 2046 section 5.1.4); other parts follow each other.
func (c *collector) stretches(p *enmime.Part) []stretch {
	if p.FirstChild == nil {
		return c.stretch(p)
	}
	var all []stretch
	for child := p.FirstChild; child != nil; child = child.NextSibling {
		all = append(all, c.stretches(child)...)
	}
	if p.ContentType != "multipart/alternative" || len(all) < 2 {
		return all
	}
	var one stretch
	for _, s := range all {
		if strings.TrimSpace(one.text) == "" {
			one.text = s.text
		}
		if strings.TrimSpace(s.html) != "" {
			one.html = s.html
		}
	}
	return []stretch{one}
}

func (c *collector) stretch(p *enmime.Part) []stretch {
	i, err := strconv.Atoi(p.Header.Get(pieceField))
	if err != nil || i < 0 || i >= len(c.pieces) || !c.pieces[i].body {
		return nil
	}
	text := clean.Text(unlabelled(p.Content, c.locale))
	if p.ContentType == "text/html" {
		return []stretch{{html: text}}
	}
	return []stretch{{text: text}}
}

// hasText tells whether any text stands outside of HTML.
func (c content) hasText() bool {
	for _, s := range c.stretches {
		if strings.TrimSpace(s.text) != "" {
			return true
		}
	}
	return false
}

// visible returns what the sender wrote and what he quoted: by the text where
// there is one, else by the HTML.
func (c content) visible(subject string) (own, quoted string) {
	strip := !c.hasText() && !forwarded.MatchString(subject)
	var texts, quotes []string
	for _, s := range c.stretches {
		text, rest := s.text, ""
		if strings.TrimSpace(text) == "" {
			text, rest = textOfHTML(s.html, strip)
		}
		if text = strings.Trim(clean.Text(text), "\n"); text != "" {
			texts = append(texts, text)
		}
		if rest != "" {
			quotes = append(quotes, clean.Text(rest))
		}
	}
	own, rest := visible(strings.Join(texts, "\n\n"), subject)
	if rest != "" {
		quotes = append([]string{rest}, quotes...)
	}
	return strings.TrimSpace(own), bounded(strings.Join(quotes, "\n"), maxQuoted)
}

// html joins the HTML of the stretches; text between them stands as text.
func (c content) html() string {
	var out strings.Builder
	found := false
	for _, s := range c.stretches {
		switch {
		case strings.TrimSpace(s.html) != "":
			found = true
			out.WriteString(s.html)
		case strings.TrimSpace(s.text) != "":
			out.WriteString("<pre>" + html.EscapeString(s.text) + "</pre>")
		}
	}
	if !found {
		return ""
	}
	return out.String()
}

// show sets what people see: the text first, then the files in their order.
func (m *message) show(content content) {
	in := &m.in
	cids := map[string]bool{}
	for _, p := range m.c.pieces {
		if p.blob != "" && plainID.MatchString(p.cid) {
			cids[p.cid] = true
		}
	}
	var text string
	text, in.Quoted = content.visible(in.Subject)
	var shown map[string]bool
	in.HTML, shown = safeHTML(content.html(), func(cid string) bool { return cids[cid] })
	if len(in.HTML) > maxSafeHTML { // cleaning writes out what was short: a page of & is five times as long
		in.HTML, shown = "", map[string]bool{}
		in.Warnings = append(in.Warnings, channels.WarnCut)
	}
	files := m.c.files(shown)
	if text != "" || len(files) == 0 {
		in.Parts = append(in.Parts, channels.Part{Type: channels.PartText, Text: text})
	}
	in.Parts = append(in.Parts, files...)
}

// plainID is a Content-ID that stands in HTML as it is.
var plainID = regexp.MustCompile(`^[A-Za-z0-9!#$*+,./:;=?@^_{|}~()-]{1,250}$`)

// files are the attachments; shown are the ids by which the HTML names some of them.
func (c *collector) files(shown map[string]bool) []channels.Part {
	var parts []channels.Part
	for i, p := range c.pieces {
		if p.blob == "" {
			continue
		}
		ref := &channels.MediaRef{Blob: p.blob, Name: c.fileName(p, i), ContentType: p.media.name, Size: p.size}
		if shown[p.cid] {
			ref.ContentID = p.cid
			delete(shown, p.cid) // a second part of that name is a file
		}
		part := channels.Part{Type: partType(p.media.name, ref.Name), Media: ref}
		ref.Kind, _ = part.Type.Media()
		if isMail(p.media.name) {
			part.Text = c.summary(p)
		}
		parts = append(parts, part)
	}
	return parts
}

// summary says what mail is attached: who wrote it, and about what.
func (c *collector) summary(p *piece) string {
	h := c.inner(p)
	var lines []string
	for _, from := range parseAddresses(h.raw("from"), c.locale) {
		lines = append(lines, clean.Line("From: "+strings.TrimSpace(from.name+" <"+from.address+">"), maxLine))
		break
	}
	if subject := h.text("subject"); subject != "" {
		lines = append(lines, "Subject: "+subject)
	}
	return strings.Join(lines, "\n")
}

func partType(contentType, name string) channels.PartType {
	kind, _, _ := strings.Cut(contentType, "/")
	switch {
	case contentType == "image/svg+xml": // it can act: no picture
	case kind == "image", contentType == binaryType && pictureName.MatchString(name):
		return channels.PartImage
	case kind == "audio":
		return channels.PartVoice
	case kind == "video":
		return channels.PartVideo
	}
	return channels.PartFile
}

var pictureName = regexp.MustCompile(`(?i)\.(jpe?g|png|gif|webp)$`)

func isTNEF(p *piece) bool {
	return p.media.name == "application/ms-tnef" || p.media.name == "application/vnd.ms-tnef" || strings.EqualFold(p.name, "winmail.dat")
}

// extensions of files that came without a name.
var extensions = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg",
	"text/calendar": ".ics", "text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "text/vcard": ".vcf", "application/pdf": ".pdf",
	"application/zip": ".zip", "application/pgp-signature": ".asc", "application/pkcs7-signature": ".p7s", "audio/mpeg": ".mp3", "video/mp4": ".mp4",
}

// fileName is the name under which a file is shown and saved.
func (c *collector) fileName(p *piece, number int) string {
	name := p.name
	switch {
	case strings.TrimSpace(name) != "" && isMail(p.media.name) && !strings.HasSuffix(strings.ToLower(name), ".eml"):
		name += ".eml"
	case strings.TrimSpace(name) != "":
	case isMail(p.media.name):
		if name = c.inner(p).text("subject"); name == "" {
			name = "mail"
		}
		name = clean.Line(strings.NewReplacer("/", "_", `\`, "_").Replace(name), 80) + ".eml"
	case isTNEF(p):
		name = "winmail.dat"
	default:
		name = fmt.Sprintf("attachment-%d%s", number, extensions[p.media.name])
	}
	return clean.FileName(name)
}
