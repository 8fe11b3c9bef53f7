package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"tributary/channels"
)

const (
	// maxRead is the largest mail that is read as a whole.
	maxRead = 100 << 20
	// maxHead and maxText are what is read of a larger one.
	maxHead = 256 << 10
	maxText = 1 << 20
)

// errWithheld: the server answers, and does not give the mail.
var errWithheld = errors.New("the mail server does not give the mail")

// mail reads one mail. there: it still is in the folder.
func (m *mailbox) mail(ctx context.Context, s *session, at place, f facts) (in channels.Inbound, there bool, err error) {
	arrived := f.arrived
	if arrived.IsZero() {
		arrived = m.host.Clock.Now()
	}
	if f.size > maxRead {
		return m.reduced(ctx, s, at, arrived, tooLarge(f.size))
	}
	there, err = s.body(ctx, at.uid, &imap.FetchItemBodySection{Peek: true}, func(r io.Reader, size int64) (err error) {
		in, err = m.reader.read(ctx, r, size, arrived)
		return err
	})
	if errors.Is(err, errWithheld) {
		return m.reduced(ctx, s, at, arrived, "The mail server does not give the whole mail.")
	}
	return in, there, err
}

func tooLarge(size int64) string {
	return fmt.Sprintf("The mail has %d MiB. What is over %d MiB is not read in; it is in the mailbox.", size>>20, maxRead>>20)
}

// reduced makes an event of a mail's header and its first text, and says why.
func (m *mailbox) reduced(ctx context.Context, s *session, at place, arrived time.Time, why string) (channels.Inbound, bool, error) {
	head, there, err := s.piece(ctx, at.uid, &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}, maxHead)
	switch {
	case errors.Is(err, errWithheld):
		return withheld(at, arrived), true, nil
	case err != nil || !there:
		return channels.Inbound{}, false, err
	}
	if len(head) == maxHead {
		head = cutHead(head)
	}
	text, err := m.text(ctx, s, at, &head)
	if err != nil {
		return channels.Inbound{}, false, err
	}
	whole := append(head, text...)
	in, err := m.reader.read(ctx, bytes.NewReader(whole), int64(len(whole)), arrived)
	in.Warnings = append(in.Warnings, channels.WarnCut)
	in.Parts = append(in.Parts, channels.Part{Type: channels.PartUnsupported, Native: "message/rfc822", Text: why})
	return in, true, err
}

// withheld stands for a mail of which nothing can be had, so that people look
// into the mailbox.
func withheld(at place, arrived time.Time) channels.Inbound {
	id := fmt.Sprintf("imap:%d:%d", at.validity, at.uid)
	sender := fmt.Sprintf("imap.%d.%d@unknown.invalid", at.validity, at.uid)
	return channels.Inbound{
		Kind: channels.InboundMessage, ExternalID: id, ThreadKey: id, OccurredAt: arrived.UTC(), Unreadable: errWithheld.Error(),
		Sender: []channels.IdentityKey{identity(sender, channels.Claimed)}, Warnings: []string{channels.WarnSenderUnproved},
		Parts: []channels.Part{{Type: channels.PartUnsupported, Native: mailType, Text: "The mail server does not give this mail. It is in the mailbox."}},
		Raw:   channels.Raw{ContentType: "text/plain", Bytes: []byte(id)},
	}
}

// text returns the first text of a mail with the blank line before it, and makes
// its header that of this text alone.
func (m *mailbox) text(ctx context.Context, s *session, at place, head *[]byte) ([]byte, error) {
	var structure imap.BodyStructure
	if !m.bare[at] {
		// A structure that the library cannot read breaks the connection. Then
		// the next try goes without.
		m.bare[at] = true
		var err error
		if structure, err = s.structure(ctx, at.uid); err != nil {
			return nil, err
		}
		delete(m.bare, at)
	}
	path, multipart := firstText(structure)
	if !multipart {
		// The header ends with its blank line and speaks of the body.
		part := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true, Partial: &imap.SectionPartial{Size: maxText}}
		if path == nil {
			return nil, nil
		}
		return s.optional(ctx, at.uid, part, maxText)
	}
	*head = without("content-", *head)
	if path == nil {
		return []byte("\r\n"), nil
	}
	kind, err := s.optional(ctx, at.uid, &imap.FetchItemBodySection{Part: path, Specifier: imap.PartSpecifierMIME, Peek: true}, maxHead)
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(kind, []byte("\r\n\r\n")) {
		kind = append(bytes.TrimRight(kind, "\r\n"), "\r\n\r\n"...)
	}
	text, err := s.optional(ctx, at.uid, &imap.FetchItemBodySection{Part: path, Peek: true, Partial: &imap.SectionPartial{Size: maxText}}, maxText)
	return append(kind, text...), err
}

// firstText finds the first plain text, or else the first text, of a mail.
func firstText(structure imap.BodyStructure) (path []int, multipart bool) {
	if structure == nil {
		return nil, false
	}
	_, multipart = structure.(*imap.BodyStructureMultiPart)
	var other []int
	structure.Walk(func(at []int, part imap.BodyStructure) bool {
		single, is := part.(*imap.BodyStructureSinglePart)
		if !is || !strings.EqualFold(single.Type, "text") {
			return true
		}
		switch {
		case path == nil && strings.EqualFold(single.Subtype, "plain"):
			path = append([]int(nil), at...)
		case other == nil:
			other = append([]int(nil), at...)
		}
		return true
	})
	if path == nil {
		path = other
	}
	return path, multipart
}

// cutHead ends a header of which more was to come. What it says of its sender
// proves nothing: he may stand below.
func cutHead(head []byte) []byte {
	whole := head[:bytes.LastIndexByte(head, '\n')+1]
	return append(without("authentication-results", whole), "\r\n"...)
}

// without drops the fields whose names begin so, and the blank line.
func without(prefix string, head []byte) []byte {
	var kept []byte
	drop := false
	for line := range bytes.Lines(head) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			drop = strings.HasPrefix(strings.ToLower(string(name)), prefix)
		}
		if !drop {
			kept = append(kept, line...)
		}
	}
	return kept
}

func (s *session) structure(ctx context.Context, uid imap.UID) (structure imap.BodyStructure, err error) {
	err = s.wire.guard(ctx, func() error {
		options := &imap.FetchOptions{UID: true, BodyStructure: &imap.FetchItemBodyStructure{}}
		found, err := s.client.Fetch(imap.UIDSetNum(uid), options).Collect()
		for _, mail := range found {
			structure = mail.BodyStructure
		}
		return err
	})
	if _, is := errors.AsType[*imap.Error](err); is {
		return nil, nil // It has none for us: the header must do.
	}
	return structure, err
}

// optional is piece for what may be missing.
func (s *session) optional(ctx context.Context, uid imap.UID, section *imap.FetchItemBodySection, most int64) ([]byte, error) {
	got, _, err := s.piece(ctx, uid, section, most)
	if errors.Is(err, errWithheld) {
		err = nil
	}
	return got, err
}

// piece reads a section into memory, at most so many bytes of it.
func (s *session) piece(ctx context.Context, uid imap.UID, section *imap.FetchItemBodySection, most int64) (got []byte, there bool, err error) {
	there, err = s.body(ctx, uid, section, func(r io.Reader, _ int64) (err error) {
		got, err = io.ReadAll(io.LimitReader(r, most))
		return err
	})
	return got, there, err
}

// body streams a section of a mail. A mail without one is asked for twice, and
// then looked for: the library takes an unasked flag change of the same mail for
// the answer, and a mail that is there must not be passed over for that.
func (s *session) body(ctx context.Context, uid imap.UID, section *imap.FetchItemBodySection, use func(io.Reader, int64) error) (there bool, err error) {
	for range 2 {
		there, err = s.ask(ctx, uid, section, use)
		if _, is := refusal(err); is {
			return false, fmt.Errorf("%w: %w", errWithheld, err)
		}
		if there || err != nil {
			return there, err
		}
	}
	found, err := s.search(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(uid)}})
	if err == nil && len(found) > 0 {
		err = errWithheld
	}
	return false, err
}

func (s *session) ask(ctx context.Context, uid imap.UID, section *imap.FetchItemBodySection, use func(io.Reader, int64) error) (there bool, err error) {
	err = s.wire.guard(ctx, func() error {
		options := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}
		answer := s.client.Fetch(imap.UIDSetNum(uid), options)
		for mail := answer.Next(); mail != nil; mail = answer.Next() {
			for item := mail.Next(); item != nil; item = mail.Next() {
				data, is := item.(imapclient.FetchItemDataBodySection)
				if !is || there {
					continue
				}
				there = true
				if err := s.pour(data.Literal, use); err != nil {
					// The answer is not closed: that would read the literal again,
					// beside the decoder that has gone on. The session ends.
					return err
				}
			}
		}
		return answer.Close()
	})
	return there && err == nil, err
}

// pour hands a literal on and proves that all of it came: for the library a
// literal that breaks off ends like a whole one. When it fails the connection is
// cut and the literal at its end, since the decoder waits for that.
func (s *session) pour(literal imap.LiteralReader, use func(io.Reader, int64) error) error {
	if literal == nil {
		return use(strings.NewReader(""), 0)
	}
	r := &whole{literal: literal, left: literal.Size()}
	s.wire.allow(literal.Size())
	err := use(r, literal.Size())
	if err != nil {
		s.wire.cut()
	}
	if _, broken := io.Copy(io.Discard, r); err == nil {
		err = broken
	}
	return err
}

// whole is a reader that must give so many bytes. After an error it does not
// touch the literal again.
type whole struct {
	literal io.Reader
	left    int64
	err     error
}

// Read implements io.Reader.
func (w *whole) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.literal.Read(p)
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	w.err = err
	return n, err
}
