package email

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"tributary/channels"
	"tributary/channels/channeltest"
)

const (
	us     = "support@desk.example"
	secret = "correct horse battery"
)

// world is a provider of mail: an IMAP and an SMTP server in this process.
type world struct {
	imapAddr, smtpAddr string
	user               *imapmemserver.User
	caps               imap.CapSet

	mu       sync.Mutex
	password string
	taken    []*envelope
	play     []func(e *envelope, c *smtp.Conn) error
	rcpt     func(to string) error
	from     func(from string) error
	logins   int
	received chan string
	gone     chan struct{}
}

// envelope is a mail that was handed in.
type envelope struct {
	id, from string
	to       []string
	data     []byte
}

func newWorld(t *testing.T, change ...func(*world, *imapserver.Options, *smtp.Server)) *world {
	t.Helper()
	w := &world{
		password: secret, received: make(chan string, 100), gone: make(chan struct{}),
		user: imapmemserver.NewUser(us, secret),
		caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapMove: {}, imap.CapUIDPlus: {}},
	}
	for _, folder := range []string{"INBOX", "Sent", "Done"} {
		if err := w.user.Create(folder, nil); err != nil {
			t.Fatal(err)
		}
	}
	quiet := log.New(io.Discard, "", 0)
	options := &imapserver.Options{NewSession: w.session, InsecureAuth: true, Logger: quiet}
	submission := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &sender{world: w, conn: c}, nil }))
	submission.AllowInsecureAuth, submission.ErrorLog, submission.Domain = true, quiet, "mx.example"
	for _, c := range change {
		c(w, options, submission)
	}
	options.Caps = w.caps
	reading := imapserver.New(options)
	w.imapAddr = serve(t, reading.Serve)
	w.smtpAddr = serve(t, submission.Serve)
	t.Cleanup(func() {
		close(w.gone)
		_ = reading.Close()
		_ = submission.Close()
	})
	return w
}

func serve(t *testing.T, f func(net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = f(l) }()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// session is one IMAP connection.
type imapSession struct {
	imapserver.SessionIMAP4rev2
	world *world
}

func (w *world) session(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	memory := imapmemserver.New()
	memory.AddUser(w.user)
	inner, _ := memory.NewSession().(imapserver.SessionIMAP4rev2)
	return &imapSession{inner, w}, nil, nil
}

func (s *imapSession) Login(user, password string) error {
	if !s.world.knows(user, password) {
		return imapserver.ErrAuthFailed
	}
	return s.SessionIMAP4rev2.Login(us, secret)
}

func (w *world) knows(user, password string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logins++
	return user == us && password == w.password
}

// sender is one SMTP connection.
type sender struct {
	world *world
	conn  *smtp.Conn
	mail  envelope
}

func (s *sender) AuthMechanisms() []string { return []string{"PLAIN"} }

func (s *sender) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if !s.world.knows(user, password) {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *sender) Reset() { s.mail = envelope{} }

func (s *sender) Logout() error { return nil }

func (s *sender) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	if s.world.from != nil {
		return s.world.from(from)
	}
	return nil
}

func (s *sender) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.world.rcpt != nil {
		if err := s.world.rcpt(to); err != nil {
			return err
		}
	}
	s.mail.to = append(s.mail.to, to)
	return nil
}

func (s *sender) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	e := s.mail
	e.data = data
	if m, err := mail.ReadMessage(bytes.NewReader(data)); err == nil {
		e.id = m.Header.Get(headerMessage)
	}
	w := s.world
	w.mu.Lock()
	w.taken = append(w.taken, &e)
	var play func(*envelope, *smtp.Conn) error
	if len(w.play) > 0 {
		play, w.play = w.play[0], w.play[1:]
	}
	w.mu.Unlock()
	w.received <- e.id
	if play != nil {
		return play(&e, s.conn)
	}
	return nil
}

func (w *world) last(t *testing.T) *envelope {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.taken) == 0 {
		t.Fatal("no mail was handed in")
	}
	return w.taken[len(w.taken)-1]
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.taken)
}

// arrive puts a mail into a folder.
func (w *world) arrive(t *testing.T, folder, subject string, at time.Time) {
	t.Helper()
	w.put(t, folder, []byte(fmt.Sprintf("From: Wang <wang@example.com>\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@example.com>\r\n\r\nHello %s\r\n",
		us, subject, strings.ReplaceAll(subject, " ", "."), subject)), at)
}

func (w *world) put(t *testing.T, folder string, data []byte, at time.Time) {
	t.Helper()
	if _, err := w.user.Append(folder, literal{bytes.NewReader(data)}, &imap.AppendOptions{Time: at}); err != nil {
		t.Fatal(err)
	}
}

type literal struct{ *bytes.Reader }

func (w *world) size(t *testing.T, folder string) int {
	t.Helper()
	status, err := w.user.Status(folder, &imap.StatusOptions{NumMessages: true})
	if err != nil {
		t.Fatal(err)
	}
	return int(*status.NumMessages)
}

// settings are a configuration under construction.
type settings map[string]any

func (w *world) settings(change ...settings) settings {
	imapHost, imapPort, _ := net.SplitHostPort(w.imapAddr)
	smtpHost, smtpPort, _ := net.SplitHostPort(w.smtpAddr)
	s := settings{
		"address": us, "name": "Support", "from": "all",
		"imapHost": imapHost, "imapPort": json.Number(imapPort), "imapSecurity": "none",
		"smtpHost": smtpHost, "smtpPort": json.Number(smtpPort), "smtpSecurity": "none",
	}
	for _, c := range change {
		maps.Copy(s, c)
	}
	return s
}

// desk is a channel opened on a world.
type desk struct {
	channel channels.Channel
	clock   *channeltest.Clock
	dialer  *channeltest.Dialer
	blob    *blob
}

func (w *world) open(t *testing.T, change ...settings) *desk {
	t.Helper()
	return openWith(t, w.settings(change...), secret)
}

func openWith(t *testing.T, s settings, passwords ...string) *desk {
	t.Helper()
	cfg, err := channels.DecodeConfig(Kind, encode(t, s), map[string][]string{"imapPassword": passwords})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{clock: channeltest.NewClock(channeltest.Start), dialer: &channeltest.Dialer{}, blob: &blob{files: map[string][]byte{}}}
	host := channeltest.Host(d.clock, d.dialer)
	host.Blob = d.blob
	if d.channel, err = Kind.Open(cfg, host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.channel.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// blob is a file store in memory.
type blob struct {
	mu    sync.Mutex
	files map[string][]byte
	get   func(io.Reader) io.Reader
}

func (b *blob) Put(_ context.Context, r io.Reader, _ string) (string, int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprint(len(b.files))
	b.files[key] = data
	return key, int64(len(data)), nil
}

func (b *blob) Get(_ context.Context, key string) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, there := b.files[key]
	if !there {
		return nil, errors.New("no such file")
	}
	var r io.Reader = bytes.NewReader(data)
	if b.get != nil {
		r = b.get(r)
	}
	return io.NopCloser(r), nil
}

func (b *blob) random(t *testing.T, size int) string {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	key, _, _ := b.Put(t.Context(), bytes.NewReader(data), "")
	return key
}

func (d *desk) fetch(t *testing.T, from channels.Cursor) channels.Batch {
	t.Helper()
	batch, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), from)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return batch
}

// all fetches until there is no more.
func (d *desk) all(t *testing.T, from channels.Cursor) (events []channels.Inbound, end channels.Cursor) {
	t.Helper()
	for range 1000 {
		batch := d.fetch(t, from)
		events, from = append(events, batch.Events...), batch.Next
		if !batch.More {
			return events, from
		}
	}
	t.Fatal("there is always more")
	return nil, from
}

func (d *desk) send(t *testing.T, out channels.Outbound) (channels.Receipt, error) {
	t.Helper()
	return as[channels.Sender](t, d.channel).Send(t.Context(), out)
}

// pass moves the clock on until done, once the peer has come to its silence.
func (d *desk) pass(t *testing.T, silent <-chan struct{}, done <-chan error, step time.Duration) error {
	t.Helper()
	select {
	case <-silent:
	case err := <-done:
		return err
	}
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Millisecond):
			d.clock.Advance(step)
		case <-t.Context().Done():
			t.Fatal("it never ended")
		}
	}
}

// spy tells when a span is waited for.
type spy struct {
	*channeltest.Clock
	span time.Duration
	seen chan struct{}
}

func (s *spy) After(d time.Duration) <-chan time.Time {
	timer := s.Clock.After(d)
	if d == s.span {
		s.seen <- struct{}{}
	}
	return timer
}

// spyOn makes the channel's clock tell.
func (d *desk) spyOn(span time.Duration) <-chan struct{} {
	s := &spy{d.clock, span, make(chan struct{}, 1000)}
	switch m := d.channel.(type) {
	case *mailbox:
		m.host.Clock = s
	case keeper:
		m.host.Clock = s
	}
	return s.seen
}

func as[T any](t *testing.T, c channels.Channel) T {
	t.Helper()
	v, ok := c.(T)
	if !ok {
		t.Fatalf("the channel is no %T", *new(T))
	}
	return v
}

func class(t *testing.T, err error, want channels.Class) {
	t.Helper()
	if got := channels.ClassOf(err); got != want {
		t.Errorf("got %v of class %q, want %q", err, got, want)
	}
}

func subjects(events []channels.Inbound) (list []string) {
	for _, in := range events {
		list = append(list, in.Subject)
	}
	return list
}

// outbound is a message that every server takes.
func outbound(id string) channels.Outbound {
	return channels.Outbound{
		ID: id, ThreadKey: "t1", Subject: "Re: Order 77", Attempt: 1, At: channeltest.Start,
		To:         []channels.IdentityKey{{Kind: channels.IdentityEmail, Value: "wang@example.com"}},
		Parts:      []channels.Part{{Type: channels.PartText, Text: "Your order is on its way."}},
		References: []string{"a@example.com", "b@example.com"},
		Marks:      channels.Marks{Conversation: "c42.abcdefghij", Message: "m7.abcdefghij", Delivery: "b7.abcdefghij"},
	}
}
