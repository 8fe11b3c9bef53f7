package email

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/internal/address"
)

// TestSameMail: what servers write on a mail's way makes no other mail of it,
// and what its sender wrote does.
func TestSameMail(t *testing.T) {
	t.Parallel()
	base := "From: a@b.example\r\nTo: support@example.com\r\nSubject: s\r\nDate: Mon, 05 Jan 2026 08:00:00 +0000\r\n"
	withID := base + "Message-ID: <m1@b.example>\r\n"
	id := func(mail string) string {
		in := readMail(t, mail)
		if in.SameID != in.ExternalID || !address.ID(in.ExternalID) {
			t.Errorf("same id %q, external id %q", in.SameID, in.ExternalID)
		}
		return in.ExternalID
	}
	first, bare := id(withID+"\r\nhello\r\n"), id(base+"\r\nhello\r\n")
	if !strings.HasPrefix(first, "m1@b.example#") || !strings.HasPrefix(bare, "h:") || len(bare) != 66 {
		t.Errorf("ids are %q and %q", first, bare)
	}
	for name, c := range map[string]struct {
		mail, other string
		same        bool
	}{
		"another mailbox":             {"Delivered-To: x@y.example\r\nReceived: by z\r\nReturn-Path: <a@b.example>\r\n" + withID + "\r\nhello\r\n", first, true},
		"another mailbox, without id": {"Delivered-To: x@y.example\r\nReceived: by z\r\n" + base + "\r\nhello\r\n", bare, true},
		"mbox line":                   {"From a@b.example\r\n" + withID + "\r\nhello\r\n", first, true},
		"another body":                {withID + "\r\nhello!\r\n", first, false},
		"another body, without id":    {base + "\r\nhello!\r\n", bare, false},
		"another subject, without id": {strings.Replace(base, "Subject: s", "Subject: t", 1) + "\r\nhello\r\n", bare, false},
		"another date, without id":    {strings.Replace(base, "08:00", "09:00", 1) + "\r\nhello\r\n", bare, false},
		"another sender, without id":  {strings.Replace(base, "a@b", "c@b", 1) + "\r\nhello\r\n", bare, false},
		"another id":                  {strings.Replace(withID, "m1", "m2", 1) + "\r\nhello\r\n", first, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := id(c.mail); (got == c.other) != c.same {
				t.Errorf("got %q, the other is %q", got, c.other)
			}
		})
	}
}

func TestThread(t *testing.T) {
	t.Parallel()
	var chain, ends []string
	for i := range 60 {
		chain = append(chain, fmt.Sprintf("<r%d@x>", i))
		if i < keepEnds || i >= 40 {
			ends = append(ends, fmt.Sprintf("r%d@x", i))
		}
	}
	long := strings.Repeat("x", 300) + "@x"
	for name, c := range map[string]struct {
		header     string
		ref, reply string
		thread     string
		references []string
	}{
		"alone":                      {"Message-ID: <m@x>", "m@x", "", "m@x", nil},
		"without id":                 {"Subject: s", "", "", "", nil},
		"id without brackets":        {"Message-ID: m@x", "m@x", "", "m@x", nil},
		"id without at":              {"Message-ID: <abc>", "abc", "", "abc", nil},
		"id with a blank in it":      {"Message-ID: <a b@x>", "ab@x", "", "ab@x", nil},
		"id in brackets twice":       {"Message-ID: <<m@x>>", "m@x", "", "m@x", nil},
		"reply":                      {"Message-ID: <m@x>\r\nIn-Reply-To: <p@x>", "m@x", "p@x", "p@x", []string{"p@x"}},
		"reply with references":      {"Message-ID: <m@x>\r\nReferences: <r@x> <p@x>\r\nIn-Reply-To: <p@x>", "m@x", "p@x", "r@x", []string{"r@x", "p@x"}},
		"references over two lines":  {"Message-ID: <m@x>\r\nReferences: <r@x>\r\n\t<p@x>", "m@x", "p@x", "r@x", []string{"r@x", "p@x"}},
		"references without blanks":  {"Message-ID: <m@x>\r\nReferences: <r@x><p@x>,<q@x>", "m@x", "q@x", "r@x", []string{"r@x", "p@x", "q@x"}},
		"reply is no last reference": {"Message-ID: <m@x>\r\nReferences: <r@x> <p@x> <q@x>\r\nIn-Reply-To: <p@x>", "m@x", "p@x", "r@x", []string{"r@x", "q@x", "p@x"}},
		"reply to the root":          {"Message-ID: <m@x>\r\nReferences: <r@x> <p@x>\r\nIn-Reply-To: <r@x>", "m@x", "r@x", "r@x", []string{"r@x", "p@x"}},
		"reply in words":             {"Message-ID: <m@x>\r\nIn-Reply-To: Your message of Monday <p@x>", "m@x", "p@x", "p@x", []string{"p@x"}},
		"reply in words alone":       {"Message-ID: <m@x>\r\nIn-Reply-To: Your message of Monday", "m@x", "", "m@x", nil},
		"doubles":                    {"Message-ID: <m@x>\r\nReferences: <r@x> <p@x> <r@x> <p@x>", "m@x", "p@x", "r@x", []string{"r@x", "p@x"}},
		"a long chain":               {"Message-ID: <m@x>\r\nReferences: " + strings.Join(chain, "\r\n "), "m@x", "r59@x", "r0@x", ends},
		"a long id":                  {"Message-ID: <m@x>\r\nIn-Reply-To: <" + long + ">", "m@x", messageID(long), messageID(long), []string{messageID(long)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := readMail(t, c.header+"\r\nFrom: a@b.example\r\n\r\nx")
			if c.thread == "" {
				c.thread = in.ExternalID
			}
			if in.RefID != c.ref || in.InReplyTo != c.reply || in.ThreadKey != c.thread || !slices.Equal(in.References, c.references) {
				t.Errorf("ref %q, reply %q, thread %q, references %q", in.RefID, in.InReplyTo, in.ThreadKey, in.References)
			}
		})
	}
}

// TestLongIDMeets: the stand-in for an id that is too long is the same where the
// id is a mail's own and where another mail names it.
func TestLongIDMeets(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300) + "@x"
	first := readMail(t, "Message-ID: <"+long+">\r\nFrom: a@b.example\r\n\r\nx")
	second := readMail(t, "Message-ID: <m@x>\r\nReferences: <"+long+">\r\nFrom: a@b.example\r\n\r\nx")
	if first.RefID != second.InReplyTo || first.ThreadKey != second.ThreadKey || !address.ID(first.ExternalID) {
		t.Errorf("%q and %q", first.RefID, second.InReplyTo)
	}
}

func TestMarksFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ header, want string }{
		"none":                   {"To: support@example.com", ""},
		"to":                     {"To: support+c42.abcdefghij@example.com", "c42.abcdefghij"},
		"upper case":             {"To: SUPPORT+C42.ABCDEFGHIJ@Example.COM", "c42.abcdefghij"},
		"cc and an alias":        {"To: x@y.example\r\nCc: Hilfe <hilfe+c42.abc@example.com>", "c42.abc"},
		"delivered first":        {"To: support+to@example.com\r\nCc: support+cc1@example.com\r\nDelivered-To: support+del@example.com\r\nX-Original-To: support+orig@example.com\r\nEnvelope-To: support+env@example.com", "del orig env to1"},
		"of somebody else":       {"To: other+c42.abc@example.com, support+c42.abc@evil.example", ""},
		"too short, too long":    {"To: support+ab@example.com, support+" + strings.Repeat("a", 41) + "@example.com, support+a_b.c@example.com", ""},
		"two plus signs":         {"To: support+c42+x@example.com", ""},
		"answered id":            {"In-Reply-To: <m7.abcdefghij@example.com>", "m7.abcdefghij"},
		"answered ids, last one": {"References: <m1.aaa@example.com> <x@y.example> <m2.bbb@example.com>", "m2.bbb m1.aaa"},
		"id of another domain":   {"In-Reply-To: <m7.abcdefghij@evil.example>", ""},
		"subject":                {"Subject: Re: [#c42.AbC] and [#c43.def] [#a b]", "c42.abc c43.def"},
		"encoded subject":        {"Subject: =?utf-8?Q?Re:_[=23c42.abc]?=", "c42.abc"},
		"all, doubled":           {"To: support+c42.abc@example.com\r\nIn-Reply-To: <m7.abc@example.com>\r\nSubject: [#c42.abc]", "c42.abc m7.abc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := readMail(t, c.header+"\r\nFrom: a@b.example\r\n\r\nx")
			want := strings.ReplaceAll(c.want, "to1", "cc1")
			if got := strings.Join(in.Marks, " "); got != want {
				t.Errorf("marks %q, want %q", got, want)
			}
		})
	}
}

// TestMarksWithoutTags: where tagged addresses are not ours to give, only ids and subjects have marks.
func TestMarksWithoutTags(t *testing.T) {
	t.Parallel()
	r, _ := newReader()
	r.marks = false
	in := readBy(t, r, "To: support+c42.abc@example.com\r\nIn-Reply-To: <m7.abc@example.com>\r\nFrom: a@b.example\r\n\r\nx")
	if got := strings.Join(in.Marks, " "); got != "m7.abc" {
		t.Errorf("marks %q", got)
	}
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	in := readMail(t, `From: a@b.example
To: "Doe, Jane" <Jane@x.example>, Support <support+c42.abc@example.com>, jane@X.example, =?utf-8?B?546L6Iqz?= <wang@x.example>
To: second@x.example (Second)
Cc: Group: one@x.example, two@x.example;, HILFE@example.com
Reply-To: Other <other@y.example>, a@b.example

x`)
	show := func(list []channels.Address) string {
		var out []string
		for _, a := range list {
			own := ""
			if a.Own {
				own = " own"
			}
			if a.Kind != channels.IdentityEmail || a.Scope != channels.ScopeWorkspace || a.Level != channels.Claimed {
				t.Errorf("%+v", a)
			}
			out = append(out, a.Name+"<"+a.Value+">"+own)
		}
		return strings.Join(out, " ")
	}
	if got := show(in.To); got != "Doe, Jane<jane@x.example> Support<support+c42.abc@example.com> own 王芳<wang@x.example> Second<second@x.example>" {
		t.Errorf("to %s", got)
	}
	if got := show(in.Cc); got != "<one@x.example> <two@x.example> <hilfe@example.com> own" {
		t.Errorf("cc %s", got)
	}
	if got := show(in.ReplyTo); got != "Other<other@y.example>" || !has(in, channels.WarnReplyToForeign) {
		t.Errorf("reply to %s, warnings %v", got, in.Warnings)
	}
}

func TestReplyTo(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"a@b.example":        "",
		"A <A@B.example>":    "",
		"<>":                 "",
		"Wang Fang":          "",
		"":                   "",
		"other@y.example":    "other@y.example",
		"<other@y.example":   "other@y.example",
		"mailto:o@y.example": "o@y.example",
	} {
		in := readMail(t, "From: a@b.example\r\nReply-To: "+value+"\r\n\r\nx")
		got := ""
		if len(in.ReplyTo) > 0 {
			got = in.ReplyTo[0].Value
		}
		if got != want || has(in, channels.WarnReplyToForeign) != (want != "") {
			t.Errorf("%q gives %q, warnings %v", value, got, in.Warnings)
		}
	}
}

// TestNobody: a mail that names no sender is somebody's all the same, and not
// the same somebody's as the next one.
func TestNobody(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, text := range []string{"one", "two"} {
		in := readMail(t, "From: Wang Fang\r\nSubject: s\r\n\r\n"+text)
		if in.SenderName != "Wang Fang" || !strings.HasSuffix(in.Sender[0].Value, "@unknown.invalid") || in.Sender[0].Level != channels.Claimed || seen[in.Sender[0].Value] {
			t.Errorf("sender %+v %q", in.Sender, in.SenderName)
		}
		seen[in.Sender[0].Value] = true
	}
	in := readMail(t, "From: <>\r\nSender: s@b.example\r\nReturn-Path: <r@b.example>\r\n\r\nx")
	if in.Sender[0].Value != "s@b.example" || in.Sender[0].Level != channels.Claimed {
		t.Errorf("sender %+v", in.Sender)
	}
	in = readMail(t, "Return-Path: <r@b.example>\r\n\r\nx")
	if in.Sender[0].Value != "r@b.example" {
		t.Errorf("sender %+v", in.Sender)
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	for date, want := range map[string]string{
		"Mon, 05 Jan 2026 08:30:00 +0100":       "2026-01-05T07:30:00Z",
		"5 Jan 2026 08:30 GMT":                  "2026-01-05T08:30:00Z",
		"Mo, 5 Jan 2026 08:30:00 +0000":         "2026-01-05T08:30:00Z",
		"Mon, 05 Jan 2026 08:30:00 -0000 (UTC)": "2026-01-05T08:30:00Z",
		"2026-01-05 08:30:00":                   "2026-01-05T08:30:00Z",
		"Tue, 06 Jan 2026 08:30:00 +0000":       "2026-01-06T08:30:00Z", // less than a day ahead
		"Wed, 07 Jan 2026 08:30:00 +0000":       "2026-01-05T09:00:00Z",
		"Fri, 02 Jan 1970 08:30:00 +0000":       "2026-01-05T09:00:00Z",
		"yesterday":                             "2026-01-05T09:00:00Z",
		"":                                      "2026-01-05T09:00:00Z",
	} {
		if got := readMail(t, "From: a@b.example\r\nDate: "+date+"\r\n\r\nx").OccurredAt.Format(time.RFC3339); got != want {
			t.Errorf("%q gives %s, want %s", date, got, want)
		}
	}
}
