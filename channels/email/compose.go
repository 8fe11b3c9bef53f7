package email

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

// letter is a mail to be written. Its bytes follow from the message and the
// settings alone, so that every attempt and the kept copy are the same mail.
type letter struct {
	id   string   // the Message-ID, without brackets
	from string   // the envelope's
	to   []string // the envelope's: all recipients
	utf8 bool     // an address has letters beyond ASCII
	at   time.Time

	fields   fields
	text     string
	html     string
	files    []channels.MediaRef
	boundary string // between text and files
	inner    string // between the forms of the text
	blob     channels.Blob
	size     int64 // set by measure
}

const (
	maxSubject = 500
	maxName    = 200
	// maxReferences is how many ids stand in References: the first and the last
	// of the thread. Some servers refuse longer fields.
	maxReferences = 21
)

// compose makes the mail. It fails with a class when it can never be one.
func (m *mailbox) compose(out channels.Outbound) (*letter, error) {
	l := &letter{at: out.At, blob: m.host.Blob, boundary: boundary("whole " + out.ID), inner: boundary("text " + out.ID)}
	if l.at.IsZero() {
		l.at = m.host.Clock.Now()
	}
	to, cc := recipients(out)
	if len(to) == 0 {
		return nil, channels.InvalidRecipient(fmt.Errorf("message %s: no mail address", out.ID))
	}
	l.content(out.Parts, m.config.Signature)
	if l.text == "" && len(l.files) == 0 {
		return nil, channels.ContentRejected(fmt.Errorf("message %s: nothing to send", out.ID)).
			WithText("The message is empty.")
	}
	for _, a := range slices.Concat(to, cc) {
		if addr, _ := address.Email(a.Value); !slices.Contains(l.to, addr) {
			l.to = append(l.to, addr)
			l.utf8 = l.utf8 || !ascii(addr)
		}
	}
	m.head(l, out, to, cc)
	return l, nil
}

// head writes the fields (RFC 5322 section 3.6).
func (m *mailbox) head(l *letter, out channels.Outbound, to, cc []channels.Address) {
	_, domain := split(m.config.Address)
	l.id = token(first(out.Marks.Message, out.ID)) + "@" + domain
	l.from = first(m.marked(out.Marks.Delivery), m.config.Address)
	l.utf8 = l.utf8 || !ascii(m.config.Address)
	f := &l.fields
	f.add("Date", l.at.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	f.add("From", mailboxOf(m.config.Name, m.config.Address)...)
	if answers := m.marked(out.Marks.Conversation); answers != "" {
		f.add("Reply-To", mailboxOf(m.config.Name, answers)...)
	}
	f.add("To", list(to)...)
	if len(cc) > 0 {
		f.add("Cc", list(cc)...)
	}
	if subject := clean.Line(out.Subject, maxSubject); subject != "" {
		f.add("Subject", words(subject)...)
	}
	f.add("Message-ID", "<"+l.id+">")
	if ids := references(out.References); len(ids) > 0 {
		f.add("In-Reply-To", ids[len(ids)-1])
		f.add("References", ids...)
	}
	f.add(headerMessage, token(out.ID))
	f.add("MIME-Version", "1.0")
}

// marked is our address with a mark behind a plus sign; empty where there is
// none to be had. A local part has at most 64 bytes (RFC 5321 section 4.5.3.1.1).
func (m *mailbox) marked(mark string) string {
	local, domain := split(m.config.Address)
	if !m.config.PlusAddresses || !markShape.MatchString(mark) || len(local)+1+len(mark) > 64 {
		return ""
	}
	return local + "+" + mark + "@" + domain
}

var markShape = regexp.MustCompile(`^[A-Za-z0-9.]{1,40}$`)

// recipients are those of the core, without what is no mail address. Without any
// the mail goes to the address of the customer.
func recipients(out channels.Outbound) (to, cc []channels.Address) {
	proper := func(list []channels.Address) (kept []channels.Address) {
		for _, a := range list {
			if _, ok := address.Email(a.Value); ok && a.Kind == channels.IdentityEmail {
				kept = append(kept, a)
			}
		}
		return kept
	}
	to, cc = proper(out.Recipients.To), proper(out.Recipients.Cc)
	if len(out.Recipients.To)+len(out.Recipients.Cc) > 0 {
		return to, cc
	}
	for _, key := range out.To {
		to = append(to, channels.Address{IdentityKey: key})
	}
	return proper(to), nil
}

func list(addresses []channels.Address) (tokens []string) {
	for i, a := range addresses {
		addr, _ := address.Email(a.Value)
		tokens = append(tokens, mailboxOf(a.Name, addr)...)
		if i < len(addresses)-1 {
			tokens[len(tokens)-1] += ","
		}
	}
	return tokens
}

// references are the ids as they stand in the field, the first and the last.
func references(ids []string) (kept []string) {
	for _, id := range ids {
		id = strings.Trim(id, "<>")
		if id == "" || len(id) > 400 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
			continue // It would break the field, and no mail has such an id.
		}
		kept = append(kept, "<"+id+">")
	}
	if len(kept) > maxReferences {
		kept = append(kept[:1:1], kept[len(kept)-maxReferences+1:]...)
	}
	return kept
}

// token keeps what an id may hold where it stands without quotes, and ends it
// before a line would be too long.
func token(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return -1
	}, id[:min(len(id), address.MaxID)])
}

// boundary is the same for all attempts. An equals sign before an underscore is
// in no encoded body (RFC 2045 section 6.7).
func boundary(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "=_" + hex.EncodeToString(sum[:12])
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > '~' })
}

// measure writes the mail to nobody and keeps its size.
func (l *letter) measure(ctx context.Context) error {
	c := &counter{most: maxMail}
	err := l.write(ctx, c)
	if errors.Is(err, errTooBig) {
		return tooBig(maxMail)
	}
	l.size = c.n
	return err
}

var errTooBig = errors.New("mail is too large")

type counter struct{ n, most int64 }

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.n > c.most {
		return 0, errTooBig
	}
	return len(p), nil
}

// write writes the mail with the line ends of the wire. Files are streamed.
func (l *letter) write(ctx context.Context, to io.Writer) error {
	w := bufio.NewWriterSize(to, 16<<10)
	_, _ = w.WriteString(l.fields.String()) // The writer keeps its error for Flush.
	if len(l.files) == 0 {
		l.alternative(w)
		return w.Flush()
	}
	_, _ = fmt.Fprintf(w, "Content-Type: multipart/mixed;\r\n boundary=%q\r\n\r\n--%s\r\n", l.boundary, l.boundary)
	l.alternative(w)
	for _, file := range l.files {
		_, _ = fmt.Fprintf(w, "--%s\r\n", l.boundary)
		if err := l.file(ctx, w, file); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(w, "--%s--\r\n", l.boundary)
	return w.Flush()
}

// alternative writes the text in its two forms, the better one last (RFC 2046
// section 5.1.4).
func (l *letter) alternative(w *bufio.Writer) {
	_, _ = fmt.Fprintf(w, "Content-Type: multipart/alternative;\r\n boundary=%q\r\n\r\n", l.inner)
	for _, form := range []struct{ kind, text string }{{"text/plain", l.text}, {"text/html", l.html}} {
		_, _ = fmt.Fprintf(w, "--%s\r\nContent-Type: %s; charset=utf-8\r\n", l.inner, form.kind)
		encodeText(w, form.text)
	}
	_, _ = fmt.Fprintf(w, "--%s--\r\n", l.inner)
}
