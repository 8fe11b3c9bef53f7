package email

import (
	"fmt"
	"strings"
	"testing"

	"tributary/channels"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header, body string
		kind         channels.PartType
		name, typ    string
		text         string
	}{
		"picture":                 {"Content-Type: image/jpeg; name=a.jpg", "x", channels.PartImage, "a.jpg", "image/jpeg", ""},
		"svg":                     {"Content-Type: image/svg+xml; name=a.svg", "x", channels.PartFile, "a.svg", "image/svg+xml", ""},
		"voice":                   {"Content-Type: audio/mpeg", "x", channels.PartVoice, "attachment-2.mp3", "audio/mpeg", ""},
		"video":                   {"Content-Type: video/mp4; name=a.mp4", "x", channels.PartVideo, "a.mp4", "video/mp4", ""},
		"no type":                 {"Content-Disposition: attachment; filename=a.bin", "x", channels.PartFile, "a.bin", "application/octet-stream", ""},
		"broken type":             {"Content-Type: attachment; name=a.bin", "x", channels.PartFile, "a.bin", "application/octet-stream", ""},
		"picture of no type":      {"Content-Type: application/octet-stream; name=a.PNG", "x", channels.PartImage, "a.PNG", "application/octet-stream", ""},
		"text as a file":          {"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt", "x", channels.PartFile, "a.txt", "text/plain", ""},
		"text with a name":        {"Content-Type: text/plain; name=a.txt", "x", channels.PartFile, "a.txt", "text/plain", ""},
		"text as a file, no name": {"Content-Type: text/plain\r\nContent-Disposition: attachment", "x", channels.PartFile, "attachment-2.txt", "text/plain", ""},
		"calendar":                {"Content-Type: text/calendar; method=REQUEST", "BEGIN:VCALENDAR", channels.PartFile, "attachment-2.ics", "text/calendar", ""},
		"winmail":                 {"Content-Type: application/ms-tnef", "x", channels.PartFile, "winmail.dat", "application/ms-tnef", ""},
		"path in the name":        {`Content-Type: application/pdf; name="C:\\temp\\..\\a.pdf"`, "x", channels.PartFile, "a.pdf", "application/pdf", ""},
		"turned name":             {"Content-Type: application/pdf; name=\"a\u202efdp.exe\"", "x", channels.PartFile, "afdp.exe", "application/pdf", ""},
		"empty":                   {"Content-Type: application/pdf; name=a.pdf", "", channels.PartFile, "a.pdf", "application/pdf", ""},
		"mail":                    {"Content-Type: message/rfc822", "From: =?utf-8?B?546L6Iqz?= <w@x.example>\r\nSubject: old / new\r\n\r\nx", channels.PartFile, "old _ new.eml", "message/rfc822", "From: 王芳 <w@x.example>\nSubject: old / new"},
		"mail in base64":          {"Content-Type: message/rfc822; name=m\r\nContent-Transfer-Encoding: base64", "U3ViamVjdDogcwoKeA==", channels.PartFile, "m.eml", "message/rfc822", "Subject: s"},
		"mail without a header":   {"Content-Type: message/rfc822", "x", channels.PartFile, "mail.eml", "message/rfc822", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := newReader()
			in := readBy(t, r, head+"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"+c.header+"\r\n\r\n"+c.body+"\r\n--b--\r\n")
			if len(in.Parts) != 2 || textIn(in) != "hello" {
				t.Fatalf("%+v", in.Parts)
			}
			p := in.Parts[1]
			if p.Type != c.kind || p.Media.Name != c.name || p.Media.ContentType != c.typ || p.Text != c.text {
				t.Errorf("part %+v, media %+v", p, p.Media)
			}
			if kind, _ := p.Type.Media(); p.Media.Kind != kind || p.Media.Size != int64(len(s.file(t, p.Media))) {
				t.Errorf("media %+v", p.Media)
			}
			if has(in, warnOutlook) != (name == "winmail") {
				t.Errorf("warnings %v", in.Warnings)
			}
		})
	}
}

// TestFileAlone: a mail may be a file and nothing else.
func TestFileAlone(t *testing.T) {
	t.Parallel()
	in := readMail(t, head+"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n")
	if len(in.Parts) != 1 || in.Parts[0].Media.Size != 5 {
		t.Errorf("parts %+v", in.Parts)
	}
	in = readMail(t, head+"\r\n")
	if len(in.Parts) != 1 || in.Parts[0].Type != channels.PartText || in.Unreadable != "" {
		t.Errorf("parts %+v, unreadable %q", in.Parts, in.Unreadable)
	}
}

// TestContentIDs: a picture is named in the HTML only where it is there.
func TestContentIDs(t *testing.T) {
	t.Parallel()
	picture := func(id string) string {
		return "\r\n--b\r\nContent-Type: image/png; name=p.png\r\nContent-Disposition: inline\r\nContent-ID: " + id + "\r\n\r\nx"
	}
	for name, c := range map[string]struct{ src, id, html, contentID string }{
		"there":           {"cid:a@x", "<a@x>", `<img src="cid:a@x">`, "a@x"},
		"percent":         {"cid:a%40x", "<a@x>", `<img src="cid:a@x">`, "a@x"},
		"no brackets":     {"CID:a@x", "a@x", `<img src="cid:a@x">`, "a@x"},
		"not there":       {"cid:b@x", "<a@x>", "", ""},
		"other case":      {"cid:A@x", "<a@x>", "", ""},
		"hostile id":      {"cid:a&quot; onerror=&quot;x", `<a" onerror="x>`, "", ""},
		"hostile percent": {"cid:%22%20onerror=%22x", `<" onerror="x>`, "", ""},
		"not named":       {"https://x.example/p.png", "<a@x>", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := readMail(t, head+"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x</p><img src=\""+c.src+"\">"+picture(c.id)+picture(c.id)+"\r\n--b--\r\n")
			if in.HTML != "<p>x</p>"+c.html {
				t.Errorf("html %q", in.HTML)
			}
			if len(in.Parts) != 3 || in.Parts[1].Media.ContentID != c.contentID || in.Parts[2].Media.ContentID != "" {
				t.Errorf("parts %+v %+v", in.Parts[1].Media, in.Parts[2].Media)
			}
		})
	}
}

// TestBounds: deep and many parts are left out or kept whole, never followed.
func TestBounds(t *testing.T) {
	t.Parallel()
	deep, many := head+"Content-Type: multipart/mixed; boundary=b0\r\n\r\n", head+"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	for i := range 50 {
		deep += fmt.Sprintf("--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	deep += "--b50\r\n\r\ndeep\r\n"
	for range 1500 {
		many += "--b\r\nContent-Type: image/png\r\n\r\nx\r\n"
	}
	in := readMail(t, deep)
	if !has(in, channels.WarnCut) || in.Unreadable != "" || len(in.Parts) != 1 || in.Parts[0].Media == nil {
		t.Errorf("deep: %v, %q, %d parts", in.Warnings, in.Unreadable, len(in.Parts))
	}
	in = readMail(t, many+"--b--\r\n")
	if !has(in, channels.WarnCut) || len(in.Parts) != maxParts-1 {
		t.Errorf("many: %v, %d parts", in.Warnings, len(in.Parts))
	}
	in = readMail(t, head+strings.Repeat("X-A: "+strings.Repeat("x", 900)+"\r\n", 400)+"\r\nhello")
	if !has(in, channels.WarnCut) || textIn(in) != "hello" || in.RefID != "m1@customer.example" {
		t.Errorf("header: %v, %q", in.Warnings, textIn(in))
	}
	in = readMail(t, strings.Replace(onWire(simpleMail), "--b1--\r\n", "", 1))
	if !has(in, warnIncomplete) || in.Unreadable != "" || len(in.Parts) != 3 {
		t.Errorf("incomplete: %v, %q", in.Warnings, in.Unreadable)
	}
}
