package email

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tributary/channels"
)

var update = flag.Bool("update", false, "write the golden files")

func attachment(key, name, kind string) channels.Part {
	return channels.Part{Type: channels.PartFile, Media: &channels.MediaRef{Kind: channels.MediaFile, Blob: key, Name: name, ContentType: kind}}
}

func (d *desk) written(t *testing.T, out channels.Outbound) []byte {
	t.Helper()
	m, _ := d.channel.(*mailbox)
	l, err := m.compose(out)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGolden keeps the bytes of whole mails, and reads them back with the
// standard library.
func TestGolden(t *testing.T) {
	t.Parallel()
	plainly, chinese, files := outbound("msg_1"), outbound("msg_2"), outbound("msg_3")
	plainly.Parts[0].Text = "Hello Wang,\n\nyour order <77> & more: https://shop.example/o?id=77&x=\"1\".\n.\nFrom here on = all well.\n\n" + strings.Repeat("long ", 60)
	chinese.Subject = "回复：" + strings.Repeat("关于您的订单", 12)
	chinese.Parts[0].Text = "您好，\n\n请看https://shop.example/订单（77）谢谢。\n" + strings.Repeat("好", 100)
	chinese.Recipients = channels.Recipients{
		To: []channels.Address{addressOf("王芳", "wang@example.com"), addressOf(`Li "the" Four, Jr.`, "li@example.com")},
		Cc: []channels.Address{addressOf(strings.Repeat("长", 60), "long@example.com")},
	}
	chinese.References = nil
	for i := range 50 {
		chinese.References = append(chinese.References, fmt.Sprintf("<%d@example.com>", i))
	}
	d := openWith(t, (&world{imapAddr: "127.0.0.1:1", smtpAddr: "127.0.0.1:1"}).settings(settings{"name": "客服中心", "signature": "客服中心\nhttps://desk.example"}), secret)
	d.blob.files["a"], d.blob.files["b"] = []byte(strings.Repeat("a file of text\n", 20)), []byte("%PDF-1.7")
	files.Parts = []channels.Part{
		{Type: channels.PartText, Text: "See the files."},
		attachment("a", "notes.txt", "text/plain; charset=utf-8"),
		attachment("b", strings.Repeat("退货单", 8)+".pdf", "application/pdf"),
		attachment("b", "inner.eml", "message/rfc822"),
		{Type: channels.PartLink, URL: "https://shop.example/77", Title: "Order 77"},
		{Type: channels.PartLocation, Location: &channels.Location{Latitude: 31.2, Longitude: 121.5, Label: "Shop"}},
	}
	for name, out := range map[string]channels.Outbound{"plain.eml": plainly, "chinese.eml": chinese, "files.eml": files} {
		got := d.written(t, out)
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs:\n%s", name, got)
		}
		sound(t, name, got)
	}
	m := parse(t, d.written(t, chinese))
	if got := m.Header.Get("References"); strings.Count(got, "<") != 21 || !strings.HasPrefix(got, "<0@example.com> <30@example.com>") || !strings.HasSuffix(got, "<49@example.com>") {
		t.Errorf("references are %q", got)
	}
	if got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || got != chinese.Subject {
		t.Errorf("subject is %q, %v", got, err)
	}
	list, err := m.Header.AddressList("To")
	if err != nil || len(list) != 2 || list[0].Name != "王芳" || list[1].Name != `Li "the" Four, Jr.` {
		t.Errorf("To is %v, %v", list, err)
	}
	if list, err := m.Header.AddressList("Cc"); err != nil || list[0].Name != strings.Repeat("长", 60) {
		t.Errorf("Cc is %v, %v", list, err)
	}
	texts, names := contents(t, parse(t, d.written(t, files)))
	if !slices.Equal(names, []string{"notes.txt", strings.Repeat("退货单", 8) + ".pdf", "inner.eml"}) {
		t.Errorf("files are %q", names)
	}
	if !strings.Contains(texts[0], "Order 77\r\nhttps://shop.example/77") && !strings.Contains(texts[0], "Order 77\nhttps://shop.example/77") {
		t.Errorf("text is %q", texts[0])
	}
	if texts[2] != string(d.blob.files["a"]) || texts[4] != "%PDF-1.7" {
		t.Errorf("a file changed: %q", texts)
	}
	texts, _ = contents(t, parse(t, d.written(t, plainly)))
	if got := strings.ReplaceAll(texts[0], "\r\n", "\n"); !strings.HasPrefix(got, strings.TrimRight(plainly.Parts[0].Text, " ")) {
		t.Errorf("text is %q", got)
	}
	if !strings.Contains(texts[1], `<a href="https://shop.example/o?id=77&amp;x=">https://shop.example/o?id=77&amp;x=</a>`) || !strings.Contains(texts[1], "&lt;77&gt; &amp; more") {
		t.Errorf("HTML is %s", texts[1])
	}
}

// sound checks what every mail must keep (RFC 5322 section 2.1.1, RFC 2045).
func sound(t *testing.T, name string, data []byte) {
	t.Helper()
	if bytes.Contains(bytes.ReplaceAll(data, []byte("\r\n"), nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(data, []byte("\r\n"), nil), []byte("\r")) {
		t.Errorf("%s: a line ends with half a line end", name)
	}
	for line := range bytes.SplitSeq(data, []byte("\r\n")) {
		if len(line) > 998 {
			t.Errorf("%s: a line of %d bytes", name, len(line))
		}
		for _, b := range line {
			if b > '~' {
				t.Errorf("%s: a byte beyond ASCII in %q", name, line)
				break
			}
		}
	}
}

// contents reads all leaves of a mail.
func contents(t *testing.T, m *mail.Message) (texts, names []string) {
	t.Helper()
	var walk func(kind string, body io.Reader)
	walk = func(kind string, body io.Reader) {
		_, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatalf("%q: %v", kind, err)
		}
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if kind := p.Header.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") {
				walk(kind, p)
				continue
			}
			if name := p.FileName(); name != "" {
				names = append(names, name)
			}
			var r io.Reader = p
			switch p.Header.Get("Content-Transfer-Encoding") {
			case "base64":
				r = base64.NewDecoder(base64.StdEncoding, p)
			case "quoted-printable":
				r = quotedprintable.NewReader(p)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
	}
	walk(m.Header.Get("Content-Type"), m.Body)
	return texts, names
}

// TestHeaderInjection: nothing that people or customers write makes a field.
func TestHeaderInjection(t *testing.T) {
	t.Parallel()
	d := openWith(t, (&world{imapAddr: "127.0.0.1:1", smtpAddr: "127.0.0.1:1"}).settings(), secret)
	d.blob.files["a"] = []byte("x")
	for _, evil := range []string{
		"x\r\nBcc: evil@example.com", "x\nBcc: evil@example.com", "x\rBcc: evil@example.com", "x\r\n\r\n<h1>body</h1>",
		"x\u2028Bcc: evil@example.com", "x\u0085Bcc: evil@example.com", "x\x00\r\nBcc: y", "=?utf-8?Q?x=0D=0ABcc:_evil@example.com?=",
		"\r\n.\r\nMAIL FROM:<evil@example.com>", strings.Repeat("x", 3000) + "\r\nBcc: y", `x"; filename="evil.exe`,
	} {
		out := outbound(evil)
		out.Subject, out.References = evil, []string{evil, "ok@example.com", "<" + evil + ">"}
		out.Marks = channels.Marks{Conversation: evil, Message: evil, Delivery: evil}
		out.Recipients = channels.Recipients{
			To: []channels.Address{addressOf(evil, "wang@example.com"), addressOf("", "wang@example.com"+evil), addressOf("", evil+"@example.com")},
			Cc: []channels.Address{addressOf("", "li@example.com>"+evil)},
		}
		out.Parts = append(out.Parts, attachment("a", evil, evil), attachment("a", "a.txt", "text/plain; name="+evil))
		data := d.written(t, out)
		sound(t, fmt.Sprintf("%.20q", evil), data)
		m := parse(t, data)
		for field := range m.Header {
			if !slices.Contains([]string{"Date", "From", "To", "Subject", "Message-Id", "In-Reply-To", "References", "X-Tributary-Message", "Mime-Version", "Content-Type"}, field) {
				t.Errorf("%.40q made the field %s", evil, field)
			}
		}
		if to, err := m.Header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != "wang@example.com" {
			t.Errorf("%.40q: to %v, %v", evil, to, err)
		}
		if got, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); strings.ContainsAny(got, "\r\n") {
			t.Errorf("%.40q: subject %q", evil, got)
		}
		if _, names := contents(t, m); len(names) != 2 || strings.HasSuffix(names[0], "evil.exe") && !strings.Contains(names[0], "filename=") {
			t.Errorf("%.40q: files %q", evil, names)
		}
	}
}

// TestFieldsAreTheLastDoor for what their callers have cleaned already.
func TestFieldsAreTheLastDoor(t *testing.T) {
	t.Parallel()
	var f fields
	f.add("Subject", "good", "x\r\nBcc:", "x\nBcc:", "x\rBcc:", "x\x00", "words")
	if got := f.String(); got != "Subject: good words\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestHTML(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<script>alert(1)</script>":     "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n",
		"javascript:alert(1)":           "<p>javascript:alert(1)</p>\n",
		"a\nb\n\n\nc":                   "<p>a<br>\nb</p>\n<p>c</p>\n",
		"(see https://a.example/x).":    `<p>(see <a href="https://a.example/x">https://a.example/x</a>).</p>` + "\n",
		"https://a.example/x_(y)":       `<p><a href="https://a.example/x_(y)">https://a.example/x_(y)</a></p>` + "\n",
		`https://a.example/"onclick="x`: `<p><a href="https://a.example/">https://a.example/</a>&#34;onclick=&#34;x</p>` + "\n",
		"https://a.example/'onclick='x": `<p><a href="https://a.example/&#39;onclick=&#39;x">https://a.example/&#39;onclick=&#39;x</a></p>` + "\n",
		"看https://a.example/x，谢谢":       `<p>看<a href="https://a.example/x">https://a.example/x</a>，谢谢</p>` + "\n",
	} {
		if got := htmlOf(text); got != want {
			t.Errorf("%q gave\n%s want\n%s", text, got, want)
		}
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	d := openWith(t, (&world{imapAddr: "127.0.0.1:1", smtpAddr: "127.0.0.1:1"}).settings(settings{"address": "Support@Desk.Example"}), secret)
	m, _ := d.channel.(*mailbox)
	for mark, want := range map[string]string{
		"c1.abc": "Support+c1.abc@Desk.Example", "": "", "a b": "", "a@b": "", "a+b": "", strings.Repeat("x", 41): "",
	} {
		if got := m.marked(mark); got != want {
			t.Errorf("mark %q gave %q, want %q", mark, got, want)
		}
	}
	m.config.Address = strings.Repeat("l", 50) + "@desk.example"
	if got := m.marked("c42.abcdefghij"); got != "" {
		t.Errorf("a local part over 64 bytes: %q", got)
	}
}
