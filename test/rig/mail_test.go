package rig_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"tributary/test/rig"
)

const (
	help  = "help@local.test"
	sales = "sales@local.test"
	ann   = "ann@example.com"
	bob   = "bob@example.com"
)

// TestMail proves what tests of mail rely on, against the real servers.
func TestMail(t *testing.T) {
	began := time.Now()
	m := rig.StartMail(t)
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *rig.Mail)
	}{
		{"by each door into the mailbox", byEachDoor},
		{"handed in, heard by IDLE", heardByIdle},
		{"only who logs in may send", onlyWhoLogsIn},
		{"STARTTLS and TLS", encrypted},
		{"what proves a sender", proofs},
		{"reports come back", reports},
		{"flags, moves, deletions", changes},
		{"large mails", large},
		{"a new UIDVALIDITY", renumbered},
		{"gone and back", goneAndBack},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, m) })
	}
}

func byEachDoor(t *testing.T, m *rig.Mail) {
	for name, hand := range map[string]func(raw []byte, to ...string){
		"LMTP":       func(raw []byte, to ...string) { m.Deliver(t, raw, ann, to...) },
		"outside":    func(raw []byte, to ...string) { m.Receive(t, raw, ann, to...) },
		"submission": func(raw []byte, to ...string) { m.Submit(t, raw, ann, to...) },
	} {
		t.Run(name, func(t *testing.T) {
			raw, id := rig.PlainMail(ann, help, "hello", "Grüße, 你好\n.\n..dots")
			hand(raw, "help+c42.mac@local.test", sales)
			for user, to := range map[string]string{help: "help+c42.mac@local.test", sales: sales} {
				l := m.ArrivesID(t, user, id)
				if l.Header.Get("Delivered-To") != to {
					t.Errorf("delivered to %q, not %q", l.Header.Get("Delivered-To"), to)
				}
				if got := l.Header.Get("Return-Path"); got != "<"+ann+">" {
					t.Errorf("return path %s", got)
				}
				_, body, _ := bytes.Cut(bytes.ReplaceAll(l.Raw, []byte("\r"), nil), []byte("\n\n"))
				if got := string(body); got != "Grüße, 你好\n.\n..dots\n" {
					t.Errorf("body %q", got)
				}
			}
		})
	}
}

func heardByIdle(t *testing.T, m *rig.Mail) {
	heard := make(chan time.Time, 64)
	c := m.Open(t, help, imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				heard <- time.Now()
			}
		},
	}})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	fastest := time.Minute
	for _, from := range []string{ann, sales} {
		var took []time.Duration
		for range 3 {
			raw, id := rig.PlainMail(from, help, "ring", "ring")
			began := time.Now()
			m.Submit(t, raw, from, help)
			select {
			case at := <-heard:
				took = append(took, at.Sub(began).Round(time.Millisecond))
			case <-time.After(10 * time.Second):
				t.Fatal("IDLE tells nothing")
			}
			m.ArrivesID(t, help, id)
		}
		t.Logf("from handing in by %s to IDLE: %s", from, took)
		fastest = min(fastest, slices.Min(took))
	}
	// A busy machine may delay any of them; a server that waits for its next round delays all.
	if fastest > time.Second {
		t.Errorf("the fastest took %s, more than a second", fastest)
	}
	if err := errors.Join(idle.Close(), idle.Wait()); err != nil {
		t.Fatal(err)
	}
}

func onlyWhoLogsIn(t *testing.T, m *rig.Mail) {
	raw, _ := rig.PlainMail(help, ann, "no", "no")
	for name, c := range map[string]struct {
		envelope rig.Envelope
		code     int
	}{
		"the outside may not send through us": {rig.Envelope{Door: rig.FromOutside, From: help, To: []string{"x@elsewhere.test"}}, 554},
		"a refused address":                   {rig.Envelope{Door: rig.ByLogin, User: help, From: help, To: []string{"refused@example.com"}}, 550},
		"a stranger's login":                  {rig.Envelope{Door: rig.ByLogin, User: "", From: help, To: []string{ann}}, 535},
	} {
		refusal, ok := errors.AsType[*textproto.Error](m.Post(c.envelope, raw))
		if !ok || refusal.Code != c.code {
			t.Errorf("%s: %v, not %d", name, refusal, c.code)
		}
	}
	// Without a login nothing is taken, and without TLS no login.
	for command, code := range map[string]int{"MAIL FROM:<" + help + ">": 530, "AUTH PLAIN AGhlbHBAbG9jYWwudGVzdABzZWNyZXQ=": 530} {
		c, err := textproto.Dial("tcp", m.Submission)
		if err != nil {
			t.Fatal(err)
		}
		for _, say := range []struct {
			words string
			code  int
		}{{"", 220}, {"EHLO x", 250}, {command, code}} {
			if say.words != "" {
				err = c.PrintfLine("%s", say.words)
			}
			if _, text, err2 := c.ReadResponse(say.code); err != nil || err2 != nil {
				t.Errorf("%q: %s %v %v", say.words, text, err, err2)
			}
		}
		_ = c.Close()
	}
}

func encrypted(t *testing.T, m *rig.Mail) {
	c, err := imapclient.DialStartTLS(m.IMAP, &imapclient.Options{TLSConfig: m.TLS()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(help, rig.MailPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	for _, capability := range []imap.Cap{imap.CapIdle, imap.CapMove, imap.CapUIDPlus, imap.CapCondStore, imap.CapQResync} {
		if !c.Caps().Has(capability) {
			t.Errorf("no %s", capability)
		}
	}
	plain, err := imapclient.DialInsecure(m.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Login(help, "wrong").Wait(); err == nil {
		t.Error("a wrong password is taken")
	}
	if err := plain.Login(help, rig.MailPassword).Wait(); err != nil {
		t.Error(err)
	}
	if _, err := imapclient.DialTLS(m.IMAPS, nil); err == nil {
		t.Error("a stranger trusts the certificate")
	}
}

// proved are the lines about proof that a mail came with, ours and others', in their order.
func proved(l rig.Letter) []string { return l.Header.Values("Authentication-Results") }

func proofs(t *testing.T, m *rig.Mail) {
	const pass, fail = "mx.local.test; dmarc=pass header.from=example.com", "mx.local.test; dmarc=fail header.from=forged.example"
	const forged = "Authentication-Results: mx.local.test; dmarc=pass header.from=example.com"
	const foreign = "other.test; dmarc=pass header.from=example.com"
	customer := rig.Envelope{Door: rig.ByLogin, User: ann, From: ann}
	company := rig.Envelope{Door: rig.ByLogin, User: sales, From: sales}
	outside := rig.Envelope{Door: rig.FromOutside, From: ann}
	report := rig.Envelope{Door: rig.ByLogin, User: ann}
	for name, c := range map[string]struct {
		by     rig.Envelope
		from   string
		header string
		want   []string
	}{
		"a customer":                         {customer, "Ann Lee <ann@example.com>", "", []string{pass}},
		"a customer, bare":                   {customer, ann, "", []string{pass}},
		"a customer, folded":                 {customer, "\"Ann\r\n Lee\"\r\n <ann@EXAMPLE.com>", "", []string{pass}},
		"a customer's report":                {report, ann, "", []string{pass}},
		"a customer as somebody else":        {customer, "Eve <eve@elsewhere.test>", "", nil},
		"a customer, address in the name":    {customer, `"ann@example.com" <eve@elsewhere.test>`, "", nil},
		"a customer, address behind":         {customer, `eve@elsewhere.test (ann@example.com)`, "", nil},
		"a customer, two senders":            {customer, "eve@elsewhere.test, ann@example.com", "", nil},
		"a customer, a like domain":          {customer, "ann@notexample.com", "", nil},
		"a customer forges in addition":      {customer, ann, forged, []string{pass}},
		"a customer's foreign proof stays":   {customer, ann, "Authentication-Results: " + foreign, []string{pass, foreign}},
		"the company as a customer":          {company, ann, "", nil},
		"the company forges":                 {company, sales, forged, nil},
		"outside":                            {outside, ann, "", nil},
		"outside forges":                     {outside, ann, forged, nil},
		"outside forges, other case":         {outside, ann, "AUTHENTICATION-RESULTS: MX.local.TEST; dmarc=pass", nil},
		"outside forges, folded":             {outside, ann, "Authentication-Results:\r\n\tmx.local.test;\r\n\tdmarc=pass", nil},
		"outside forges behind a comment":    {outside, ann, "Authentication-Results: (a; b) mx.local.test; dmarc=pass", nil},
		"outside, foreign proof stays":       {outside, ann, "Authentication-Results: " + foreign, []string{foreign}},
		"outside, forged domain":             {outside, "Eve <eve@forged.example>", forged, []string{fail}},
		"outside, forged domain in the name": {outside, "\"eve@forged.example\" <eve@elsewhere.test>", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := []string{"X-Test: 1"}
			if c.header != "" {
				header = append(header, c.header)
			}
			raw, id := rig.PlainMail(c.from, help, name, "From: eve@forged.example\n\nFrom: ann@example.com", header...)
			c.by.To = []string{help}
			if err := m.Post(c.by, raw); err != nil {
				t.Fatal(err)
			}
			l := m.ArrivesID(t, help, id)
			if got := proved(l); !slices.Equal(got, c.want) {
				t.Fatalf("%q, not %q", got, c.want)
			}
			if len(c.want) == 0 || !strings.HasPrefix(c.want[0], "mx.local.test") {
				return
			}
			// On top: above what the mail came with, and above the servers that had it before.
			header0, _, _ := bytes.Cut(l.Raw, []byte("X-Test: 1"))
			if at := bytes.Index(header0, []byte("Authentication-Results:")); at < 0 || at > bytes.Index(header0, []byte("\nFrom: ")) || bytes.Count(header0[at:], []byte("\nReceived: ")) < 2 {
				t.Errorf("not on top:\n%s", header0)
			}
		})
	}
	t.Run("one for many", func(t *testing.T) {
		raw, id := rig.PlainMail(ann, help, "many", "many")
		m.Submit(t, raw, ann, help, sales, bob)
		for _, user := range []string{help, sales, bob} {
			if got := proved(m.ArrivesID(t, user, id)); !slices.Equal(got, []string{pass}) {
				t.Errorf("%s: %q", user, got)
			}
		}
	})
	t.Run("a mail inside a mail", func(t *testing.T) {
		raw, id := rig.PlainMail("eve@elsewhere.test", help, "Fwd", "--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: eve@forged.example\r\nAuthentication-Results: mx.local.test; dmarc=pass\r\n\r\nhi\r\n--b--",
			"Content-Type: multipart/mixed; boundary=b")
		raw = bytes.Replace(raw, []byte("Content-Type: text/plain; charset=utf-8\r\n"), nil, 1)
		m.Receive(t, raw, ann, help)
		if l := m.ArrivesID(t, help, id); len(proved(l)) != 0 || !bytes.Contains(l.Raw, []byte("dmarc=pass")) {
			t.Errorf("the inner mail is not as it was:\n%s", l.Raw)
		}
	})
}

func reports(t *testing.T, m *rig.Mail) {
	const bounces = "help+b7.mac@local.test"
	for to, status := range map[string]string{"x@elsewhere.test": "5.4.4", "gone@example.com": "5.1.1", "full@example.com": "5.2.2"} {
		raw, id := rig.PlainMail(help, to, "to nobody", "hi")
		began := time.Now()
		if err := m.Post(rig.Envelope{Door: rig.ByLogin, User: help, From: bounces, To: []string{to}}, raw); err != nil {
			t.Fatal(err)
		}
		l := m.Arrives(t, help, "the report about "+to, func(l rig.Letter) bool { return bytes.Contains(l.Raw, []byte("Message-ID: "+id)) })
		t.Logf("report %s after %s", status, time.Since(began).Round(time.Millisecond))
		if got := []string{l.Header.Get("Return-Path"), l.Header.Get("Delivered-To"), l.Header.Get("Auto-Submitted")}; !slices.Equal(got, []string{"<>", bounces, "auto-replied"}) {
			t.Errorf("%s: %q", to, got)
		}
		if !strings.HasPrefix(l.Header.Get("Content-Type"), "multipart/report; report-type=delivery-status") {
			t.Errorf("%s: %s", to, l.Header.Get("Content-Type"))
		}
		for _, line := range []string{"Content-Type: message/delivery-status", "Final-Recipient: rfc822; " + to, "Action: failed", "Status: " + status} {
			if !bytes.Contains(l.Raw, []byte("\n"+line)) {
				t.Errorf("%s: no %q in\n%s", to, line, l.Raw)
			}
		}
	}
}

func changes(t *testing.T, m *rig.Mail) {
	const user = "changes@local.test"
	raw, id := rig.PlainMail(ann, user, "append", "append")
	m.Append(t, user, "Junk", raw, imap.FlagFlagged)
	m.Flag(t, user, "Junk", id, imap.FlagSeen)
	if l := m.Letters(t, user, "Junk"); len(l) != 1 || l[0].Flags != "FS" || l[0].ID() != id || !bytes.Equal(bytes.ReplaceAll(l[0].Raw, []byte("\r"), nil), bytes.ReplaceAll(raw, []byte("\r"), nil)) {
		t.Fatalf("%+v", l)
	}
	m.Move(t, user, "Junk", id, "INBOX")
	m.Move(t, user, "INBOX", id, "Done")
	if in, junk, done := len(m.Letters(t, user, "INBOX")), len(m.Letters(t, user, "Junk")), len(m.Letters(t, user, "Done")); in != 0 || junk != 0 || done != 1 {
		t.Fatal(in, junk, done)
	}
	m.Delete(t, user, "Done", id)
	if l := m.Letters(t, user, "Done"); len(l) != 0 {
		t.Fatalf("%+v", l)
	}
}

func large(t *testing.T, m *rig.Mail) {
	c, err := textproto.Dial("tcp", m.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _, err = c.ReadResponse(220)
	err2 := c.PrintfLine("EHLO x")
	if _, said, err3 := c.ReadResponse(250); err != nil || err2 != nil || err3 != nil || !strings.Contains(said, "SIZE 209715200") {
		t.Fatal(said, err, err2, err3)
	}
	// More than Postfix takes by default.
	raw, id := rig.PlainMail(ann, "large@local.test", "large", strings.Repeat(strings.Repeat("x", 998)+"\r\n", 12<<10))
	began := time.Now()
	m.Receive(t, raw, ann, "large@local.test")
	m.ArrivesID(t, "large@local.test", id)
	t.Logf("%d MiB in %s", len(raw)>>20, time.Since(began).Round(time.Millisecond))
}

func renumbered(t *testing.T, m *rig.Mail) {
	const user = "renumber@local.test"
	var ids []string
	for range 3 {
		raw, id := rig.PlainMail(ann, user, "n", "n")
		m.Deliver(t, raw, ann, user)
		ids = append(ids, id)
	}
	before := m.UIDValidity(t, user, "INBOX")
	session := m.Open(t, user, imapclient.Options{})
	if _, err := session.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	m.Delete(t, user, "INBOX", ids[0])
	if err := m.Renumber(user, "INBOX"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-session.Closed():
	case <-time.After(5 * time.Second):
		t.Error("an open session goes on")
	}
	c := m.Open(t, user, imapclient.Options{})
	s, err := c.Select("INBOX", nil).Wait()
	if err != nil || s.UIDValidity == before || s.NumMessages != 2 || s.UIDNext != 3 {
		t.Fatalf("%+v %v, before %d", s, err, before)
	}
	for n, l := range m.Letters(t, user, "INBOX") {
		if l.ID() != ids[n+1] {
			t.Errorf("mail %d is %s", n, l.ID())
		}
	}
}

func goneAndBack(t *testing.T, m *rig.Mail) {
	before := m.Letters(t, help, "INBOX")
	validity := m.UIDValidity(t, help, "INBOX")
	late, lateID := rig.PlainMail(ann, help, "on its way", "on its way")
	m.Submit(t, late, ann, help)
	began := time.Now()
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	silent(t, m)
	began = time.Now()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	if got := m.UIDValidity(t, help, "INBOX"); got != validity {
		t.Errorf("UIDVALIDITY %d, was %d", got, validity)
	}
	raw, id := rig.PlainMail(ann, help, "after", "after")
	m.Submit(t, raw, ann, help)
	m.ArrivesID(t, help, id)
	m.ArrivesID(t, help, lateID)
	for _, l := range before {
		m.ArrivesID(t, help, l.ID())
	}
}

// TestMailLeavesNothing: neither an ordinary end nor kill -9 leaves servers behind; the folder of one that was killed goes
// with the next start.
func TestMailLeavesNothing(t *testing.T) {
	var killed, ended *rig.Mail
	t.Run("killed", func(t *testing.T) {
		killed = rig.StartMail(t)
		raw, id := rig.PlainMail(ann, help, "n", "n")
		killed.Receive(t, raw, ann, help)
		killed.ArrivesID(t, help, id)
		if err := syscall.Kill(killed.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	})
	if killed == nil {
		t.Skip("there is no mail server")
	}
	silent(t, killed)
	rig.Eventually(t, 10*time.Second, "no process of the killed one", func() bool { return !named(killed.Dir) })
	t.Run("ended", func(t *testing.T) { ended = rig.StartMail(t) })
	silent(t, ended)
	for _, m := range []*rig.Mail{killed, ended} {
		if _, err := os.Stat(m.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left behind: %v", m.Dir, err)
		}
	}
}

// named tells if a process has a folder in its command.
func named(dir string) bool {
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline") // a constant pattern
	return slices.ContainsFunc(commands, func(file string) bool {
		command, _ := os.ReadFile(file) // the process may have ended meanwhile
		return bytes.Contains(command, []byte(dir))
	})
}

// silent waits until nobody answers.
func silent(t *testing.T, m *rig.Mail) {
	t.Helper()
	for _, addr := range []string{m.IMAP, m.IMAPS, m.SMTP, m.Submission, m.Submissions, m.LMTP} {
		rig.Eventually(t, 10*time.Second, "silence at "+addr, func() bool {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
	}
}
