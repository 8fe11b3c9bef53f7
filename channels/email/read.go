package email

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"time"

	"tributary/channels"
	"tributary/internal/clean"
)

// reader turns one mail into an event. It keeps no state between mails and is
// safe for concurrent use as far as blob and clock are.
type reader struct {
	own      []string // our addresses: mailbox and aliases, lower case
	marks    bool     // tags behind a plus sign in our addresses are marks
	authserv []string // servers whose verdict on senders we trust
	locale   string   // the language of the mailbox, such as "zh-CN"
	blob     channels.Blob
	clock    channels.Clock
}

// Warnings of this kind beside those of the contract.
const (
	// warnIncomplete: the mail ends before its parts do.
	warnIncomplete = "mail_incomplete"
	// warnOutlook: there is a winmail.dat, whose content only Outlook shows.
	warnOutlook = "mail_winmail"
)

// read reads one mail from r (size as the server said, received as
// INTERNALDATE). Its error is of r or of the blob store alone (then nothing is
// taken); whatever is wrong with the mail itself stands in Inbound.Unreadable,
// with the raw mail attached.
func (r *reader) read(ctx context.Context, mail io.Reader, size int64, received time.Time) (channels.Inbound, error) {
	copied := newOriginal(ctx, r.blob, mail)
	c := &collector{ctx: ctx, blob: r.blob, locale: r.locale}
	body := sha256.New()
	s := newSplitter(copied, c, body)

	broken := guard(s.split)
	err := copied.err
	if err == nil {
		err = c.storeErr
	}
	if err == nil {
		err = s.drain()
	}
	if err != nil {
		copied.abort(err)
		return channels.Inbound{}, err
	}
	beyond, err := io.Copy(io.Discard, mail) // what is over the limit: the server's stream must be read
	if err != nil {
		copied.abort(err)
		return channels.Inbound{}, fmt.Errorf("read mail: %w", err)
	}
	raw, err := copied.finish()
	if err != nil {
		return channels.Inbound{}, err
	}
	c.lost = c.lost || beyond > 0 || size > maxRaw
	m := &message{r: r, c: c, body: [sha256.Size]byte(body.Sum(nil)), received: received, in: channels.Inbound{Kind: channels.InboundMessage, Raw: raw}}
	if broken == nil {
		broken = guard(m.fill)
	}
	if broken == nil {
		broken = m.doubt()
	}
	if broken != nil {
		if err := m.save(copied, broken); err != nil {
			return channels.Inbound{}, err
		}
	}
	return m.in, nil
}

// errPanic is that of a parser that broke down. No mail may stop those behind it.
var errPanic = errors.New("the parser broke down")

func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return f()
}

// message is an event in the making.
type message struct {
	r        *reader
	c        *collector
	body     [sha256.Size]byte
	received time.Time
	in       channels.Inbound
	from     party
}

// fill makes the event of the pieces.
func (m *message) fill() error {
	m.name()
	m.address()
	m.in.OccurredAt = m.occurred(m.r.clock.Now())
	content, err := m.c.content()
	if err != nil {
		return err
	}
	m.show(content)
	m.in.Automatic = automatic(m.c.top, m.from.address)
	if b, ok := m.c.readBounce(m.in.Automatic); ok {
		m.in.Kind, m.in.Automatic = channels.InboundDelivery, true
		m.in.State, m.in.Reason, m.in.TargetID = b.state, b.reason, b.target
	}
	m.warn()
	return nil
}

// name sets the ids, and what the mail is an answer to.
func (m *message) name() {
	h, in := m.c.top, &m.in
	in.ExternalID, in.RefID = identify(h, m.body)
	in.SameID = in.ExternalID
	in.References, in.InReplyTo = ancestors(h)
	switch {
	case len(in.References) > 0:
		in.ThreadKey = in.References[0]
	case in.RefID != "":
		in.ThreadKey = in.RefID
	default:
		in.ThreadKey = in.ExternalID
	}
	in.Marks = m.r.marksOf(h, in.References)
	in.Subject = h.text("subject")
}

// occurred is the time of the mail's Date, if a mail can have it.
func (m *message) occurred(now time.Time) time.Time {
	received := m.received
	if received.IsZero() {
		received = now
	}
	date, err := parseDate(m.c.top.plain("date"))
	if err != nil || date.Year() < 1980 || date.After(now.Add(24*time.Hour)) {
		return received.UTC()
	}
	return date.UTC()
}

func parseDate(text string) (time.Time, error) {
	t, err := mail.ParseDate(text)
	if err == nil {
		return t, nil
	}
	text, _, _ = strings.Cut(text, "(")
	text = strings.ReplaceAll(strings.TrimSpace(text), "-0000", "+0000")
	if _, rest, ok := strings.Cut(text, ","); ok {
		text = strings.TrimSpace(rest) // the day of the week is often in another language
	}
	for _, layout := range []string{"2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05", "2 Jan 2006 15:04 -0700", "2 January 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 MST", time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}

// warn adds what people should know of the content.
func (m *message) warn() {
	if m.c.lost {
		m.in.Warnings = append(m.in.Warnings, channels.WarnCut)
	}
	if m.c.unclosed {
		m.in.Warnings = append(m.in.Warnings, warnIncomplete)
	}
	for _, p := range m.c.pieces {
		if isTNEF(p) {
			m.in.Warnings = append(m.in.Warnings, warnOutlook)
			return
		}
	}
}

// doubt says why a mail that was read may be no mail, or not this one.
func (m *message) doubt() error {
	switch {
	case m.in.Raw.Size == 0:
		return errors.New("the mail is empty")
	case len(m.c.top.fields) == 0:
		return errors.New("the mail has no header")
	case m.c.noParts:
		return errors.New("the mail says that it has parts, and has none")
	}
	return nil
}

// save makes an event of a mail that could not be read as it should: what was
// understood stays, the text that was found is shown, the whole is attached.
func (m *message) save(copied *original, why error) error {
	in := &m.in
	if errors.Is(why, errPanic) {
		m.salvage()
	}
	in.Kind, in.Unreadable = channels.InboundMessage, clean.Line(why.Error(), maxReason)
	file, err := copied.attach(in.Raw)
	if err != nil {
		return err
	}
	in.Parts = append(in.Parts, channels.Part{Type: channels.PartFile, Media: &file})
	return nil
}

// salvage sets each field that can still be made, one by one.
func (m *message) salvage() {
	in := &m.in
	in.HTML, in.Quoted, in.Parts = "", "", nil
	for _, step := range []func() error{
		func() error { m.name(); return nil },
		func() error { in.Warnings = nil; m.address(); return nil },
	} {
		_ = guard(step) // what breaks here broke before
	}
	if in.ExternalID == "" {
		in.ExternalID = "h:" + in.Raw.SHA256
		in.SameID, in.ThreadKey = in.ExternalID, in.ExternalID
	}
	if len(in.Sender) == 0 {
		in.Sender = []channels.IdentityKey{identity(in.Raw.SHA256[:16]+"@unknown.invalid", channels.Claimed)}
	}
	if in.OccurredAt = m.received.UTC(); m.received.IsZero() {
		in.OccurredAt = time.Unix(0, 0).UTC()
	}
	for _, p := range m.c.pieces {
		if text := strings.TrimSpace(clean.Text(unlabelled(p.text, m.r.locale))); text != "" {
			in.Parts = append(in.Parts, channels.Part{Type: channels.PartText, Text: text})
		}
	}
	in.Parts = append(in.Parts, m.c.files(nil)...)
}
