package email

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"golang.org/x/net/html"

	"tributary/channels"
	"tributary/internal/clean"
)

// attacks are ways by which the HTML of a mail came to act, to be loaded or to
// leave its frame. The sanitiser has its own, longer list; these prove that
// what a mail says reaches it whatever the encoding, and that nothing is put
// back behind it.
var attacks = []string{
	`<script>alert(1)</script>`, `<ScRiPt src=//e.example/x.js></script>`, `<script>alert(1)`, `<scr<script>ipt>alert(1)</script>`,
	`<img src=x onerror=alert(1)>`, `<img src="cid:a@x" onerror="alert(1)">`, `<img/src="cid:a@x"/onload=alert(1)>`, `<img src="cid:a@x&quot; onerror=&quot;alert(1)">`,
	`<img src="https://e.example/p.gif">`, `<img src="//e.example/p.gif">`, `<img srcset="https://e.example/p 1x" src="cid:a@x">`, `<img src="cid:https://e.example/p">`,
	`<img src="javascript:alert(1)">`, `<img src="data:image/svg+xml;base64,PHN2Zz4=">`, `<img lowsrc="https://e.example/p" src="cid:a@x">`, `<picture><source srcset="https://e.example/p"></picture>`,
	`<svg onload=alert(1)>`, `<svg><script>alert(1)</script></svg>`, `<svg><image href="https://e.example/p">`, `<math><mtext><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
	`<iframe src="https://e.example">`, `<iframe srcdoc="<script>alert(1)</script>">`, `<object data="https://e.example/x">`, `<embed src="https://e.example/x">`,
	`<video poster="https://e.example/p">`, `<audio src="https://e.example/a" autoplay>`, `<body background="https://e.example/p" onload=alert(1)>`, `<td background="https://e.example/p">`,
	`<div style="background:url(https://e.example/p)">`, `<div style="background:url(javascript:alert(1))">`, `<p style="position:fixed;top:0;width:expression(alert(1))">`, `<style>@import "https://e.example/x.css";</style>`,
	`<link rel=stylesheet href="https://e.example/x.css">`, `<link rel=prefetch href="https://e.example/p">`, `<meta http-equiv=refresh content="0;url=https://e.example">`, `<base href="https://e.example/">`,
	`<a href="javascript:alert(1)">x</a>`, `<a href="java&#9;script:alert(1)">x</a>`, `<a href="data:text/html,<script>alert(1)</script>">x</a>`, `<a href="vbscript:x">x</a>`,
	`<form action="https://e.example"><input name=p type=password><button>b</button></form>`, `<input onfocus=alert(1) autofocus>`, `<button formaction="javascript:alert(1)">x</button>`, `<details open ontoggle=alert(1)>`,
	`<!--[if mso]><script>alert(1)</script><![endif]-->`, `<!--><img src=x onerror=alert(1)>-->`, `<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<textarea><img title="</textarea><img src=x onerror=alert(1)>">`,
	`<p title="</p><script>alert(1)</script>">x</p>`, `<x onclick=alert(1) class=y id=z>`, "<img src=\"cid:a@x\x00\" onerror=alert(1)>", `<img src="cid:%22%3E%3Cscript%3Ealert(1)%3C/script%3E">`,
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	if len(attacks) < 40 {
		t.Errorf("only %d vectors", len(attacks))
	}
	for _, a := range attacks {
		utf7 := "+" + strings.TrimRight(base64.StdEncoding.EncodeToString(utf16(a)), "=") + "-"
		for name, content := range map[string]string{
			"8bit":   "Content-Type: text/html\r\n\r\n" + a,
			"base64": "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(a)),
			"utf-7":  "Content-Type: text/html; charset=utf-7\r\n\r\n" + utf7,
			"text":   "Content-Type: text/plain\r\n\r\n" + a,
		} {
			in := readMail(t, head+"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\n"+content+"\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>after</p>\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <a@x>\r\n\r\nx\r\n--b--\r\n")
			if in.Unreadable != "" || name == "text" && !strings.Contains(in.HTML, "after") {
				t.Errorf("%s %q: unreadable %q, html %q", name, a, in.Unreadable, in.HTML)
			}
			inert(t, a, in.HTML)
		}
	}
}

func utf16(s string) (b []byte) {
	for _, r := range s {
		b = append(b, byte(r>>8), byte(r))
	}
	return b
}

var (
	inline     = regexp.MustCompile(`^(cid:a@x$|data:image/(png|jpeg|gif|webp);base64,)`)
	linkScheme = regexp.MustCompile(`^(https?|mailto|tel):`)
)

// inert reads HTML as a browser does.
func inert(t *testing.T, from, out string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "style", "svg", "math", "iframe", "object", "embed", "form", "input", "button", "link", "meta", "base", "video", "audio", "template", "noscript", "textarea", "source":
			t.Errorf("%q gives %q: %s", from, out, n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcset" || a.Key == "background" ||
				a.Key == "src" && !inline.MatchString(a.Val) || a.Key == "href" && !linkScheme.MatchString(a.Val) {
				t.Errorf("%q gives %q: %s=%q", from, out, a.Key, a.Val)
			}
		}
	}
}

// FuzzRead reads whatever comes: it gives an event that can be stored, the same
// each time, and never an error.
func FuzzRead(f *testing.F) {
	f.Add([]byte(onWire(simpleMail)))
	f.Add([]byte(report(statusPart("message/delivery-status", failed), originalPart("message/rfc822", ""))))
	f.Add([]byte("From: =?gbk?Q?\xcd\xcb\xbb\xf5?= <a@b\r\nSubject: \xcd\xcb\r\n\r\n\xcd\xcb\xbb\xf5"))
	f.Add([]byte("Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<div class=3D\"gmail_quote\">=\r\n<img src=3Dcid:a><pre>"))
	f.Add([]byte("Content-Type: multipart/alternative\n\n--x\nContent-Type: text/html; charset=iso-2022-jp\n\n\x1b$B\n--x\n\n> a\nOn 1 b wrote:\n> c\n"))
	f.Add([]byte("Authentication-Results: mx.example.com; dkim=pass header.d=b.c (x\nFrom: \"a\\\" <a@b.c>, (c) d@e;\nReferences: <a><b\nDate: x\n\n"))
	f.Add([]byte("Content-Disposition: attachment; filename*0*=gbk''%B6; filename*1=\"a\nContent-Type: message/rfc822\n\nSubject: =?utf-8?B?=?=\n"))
	f.Fuzz(func(t *testing.T, mail []byte) {
		if len(mail) > 64<<10 {
			t.Skip("the size has its own test")
		}
		r, _ := newReader()
		in, err := r.read(t.Context(), bytes.NewReader(mail), int64(len(mail)), arrivedAt)
		if err != nil {
			t.Fatalf("%q: %v", mail, err)
		}
		again, err := r.read(t.Context(), iotest.HalfReader(bytes.NewReader(mail)), 0, arrivedAt)
		if err != nil {
			t.Fatalf("%q: %v", mail, err)
		}
		stored, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(stored, second) {
			t.Errorf("%q gives\n%s\nthen\n%s", mail, stored, second)
		}
		if len(stored) > 1<<20+40*len(mail) { // < is &lt;, and that is six more in JSON
			t.Errorf("%d bytes give %d", len(mail), len(stored))
		}
		storable(t, in)
		inertFuzz(t, in)
	})
}

// storable holds for every event.
func storable(t *testing.T, in channels.Inbound) {
	t.Helper()
	if strings.Contains(in.Unreadable, errPanic.Error()) {
		t.Errorf("unreadable: %s", in.Unreadable)
	}
	if in.ExternalID == "" || len(in.ExternalID) > 200 || in.ThreadKey == "" || len(in.Sender) != 1 || in.Sender[0].Value == "" || in.OccurredAt.IsZero() || len(in.Parts) == 0 {
		t.Errorf("external id %q, thread %q, sender %v, %d parts", in.ExternalID, in.ThreadKey, in.Sender, len(in.Parts))
	}
	texts := append([]string{in.Subject, in.SenderName, in.HTML, in.Quoted, in.Reason, in.Unreadable, in.ExternalID, in.ThreadKey, in.RefID, in.InReplyTo, in.TargetID, in.Sender[0].Value}, in.References...)
	for _, p := range in.Parts {
		texts = append(texts, p.Text)
		if p.Media != nil {
			texts = append(texts, p.Media.Name, p.Media.ContentID, p.Media.ContentType)
		}
	}
	for _, list := range [][]channels.Address{in.To, in.Cc, in.ReplyTo} {
		for _, a := range list {
			texts = append(texts, a.Name, a.Value)
		}
	}
	for _, s := range append(texts, in.Marks...) {
		if !utf8.ValidString(s) || clean.Text(s) != s {
			t.Errorf("text %q", s)
		}
	}
}

func inertFuzz(t *testing.T, in channels.Inbound) {
	t.Helper()
	if clean.HTML(in.HTML) != in.HTML {
		t.Errorf("html %q cleans to %q", in.HTML, clean.HTML(in.HTML))
	}
}
