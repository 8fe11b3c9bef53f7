package email

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/jhillyerd/enmime/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"tributary/channels"
)

// in writes a text in a charset.
func in(t *testing.T, e encoding.Encoding, s string) string {
	t.Helper()
	b, err := e.NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// what a mail says, by us and by the parser alone.
type said struct{ subject, from, address, text, file string }

func byUs(t *testing.T, mail string) said {
	t.Helper()
	in := readMail(t, mail)
	s := said{subject: in.Subject, from: in.SenderName, address: in.Sender[0].Value, text: textIn(in)}
	for _, p := range in.Parts {
		if p.Media != nil && s.file == "" && in.Unreadable == "" {
			s.file = p.Media.Name
		}
	}
	return s
}

func byEnmime(mail string) (s said) {
	p := enmime.NewParser(enmime.SkipMalformedParts(true), enmime.SetReadPartErrorPolicy(enmime.AllowCorruptTextPartErrorPolicy))
	e, err := p.ReadEnvelope(strings.NewReader(mail))
	if err != nil {
		return s
	}
	s.subject, s.text = e.GetHeader("Subject"), strings.TrimSpace(e.Text)
	if list, err := e.AddressList("From"); err == nil && len(list) > 0 {
		s.from, s.address = list[0].Name, list[0].Address
	}
	for _, p := range append(e.Attachments, e.OtherParts...) {
		s.file = p.FileName
	}
	return s
}

const head = "From: Li <li@customer.example>\r\nTo: support@example.com\r\nMessage-ID: <m1@customer.example>\r\n"

func body(label, text string) string {
	kind := "text/plain"
	if label != "" {
		kind += "; charset=" + label
	}
	return head + "Subject: x\r\nContent-Type: " + kind + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text + "\r\n"
}

func subject(raw string) string { return head + "Subject: " + raw + "\r\n\r\nx\r\n" }

func from(raw string) string {
	return "From: " + raw + "\r\nTo: support@example.com\r\nMessage-ID: <m1@customer.example>\r\nSubject: x\r\n\r\nx\r\n"
}

func attached(disposition string) string {
	return head + "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" +
		"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: " + disposition + "\r\n\r\n%PDF\r\n--b--\r\n"
}

// TestCharsetTable has a line for each row of what the parser does not do.
// broken rows are read wrong by the parser alone, which the test shows each
// time: a row that turns right needs our repair no more.
func TestCharsetTable(t *testing.T) {
	t.Parallel()
	gbk, gb18030 := simplifiedchinese.GBK, simplifiedchinese.GB18030
	b64 := base64.StdEncoding.EncodeToString
	long := "我的订单还没有收到，请帮我查一下。谢谢！"
	for name, c := range map[string]struct {
		mail   string
		want   said // only what is set is compared
		broken bool
	}{
		"gb18030":                     {body("gb18030", in(t, gb18030, long)), said{text: long}, false},
		"gbk":                         {body("gbk", in(t, gbk, long)), said{text: long}, false},
		"gb2312 label, gbk bytes":     {body("gb2312", in(t, gbk, "镕基，鎮江")), said{text: "镕基，鎮江"}, false},
		"hz":                          {body("hz-gb-2312", in(t, simplifiedchinese.HZGB2312, long)+"~}"), said{text: long}, false},
		"big5":                        {body("big5", in(t, traditionalchinese.Big5, "訂單還沒有收到")), said{text: "訂單還沒有收到"}, false},
		"iso-2022-jp":                 {body("iso-2022-jp", in(t, japanese.ISO2022JP, "注文が届きません")), said{text: "注文が届きません"}, false},
		"shift_jis":                   {body("shift_jis", in(t, japanese.ShiftJIS, "注文が届きません")), said{text: "注文が届きません"}, false},
		"ks_c_5601":                   {body("ks_c_5601-1987", in(t, korean.EUCKR, "주문이 도착하지 않았습니다")), said{text: "주문이 도착하지 않았습니다"}, false},
		"gb2312 label, 4 bytes":       {body("gb2312", in(t, gb18030, "我叫𠮷㐂ǹ")), said{text: "我叫𠮷㐂ǹ"}, true},
		"gbk label, 4 bytes":          {body("gbk", in(t, gb18030, "㐂喜")), said{text: "㐂喜"}, true},
		"utf-8 label, gbk bytes":      {body("utf-8", in(t, gbk, "退货怎么办")), said{text: "退货怎么办"}, true},
		"no label, gbk bytes":         {body("", in(t, gbk, "退货怎么办")), said{text: "退货怎么办"}, true},
		"no label, big5 bytes":        {body("", in(t, traditionalchinese.Big5, "請問我的訂單在哪裡")), said{text: "請問我的訂單在哪裡"}, true},
		"utf-8 label, shift_jis":      {body("utf-8", in(t, japanese.ShiftJIS, "注文が届きません。")), said{text: "注文が届きません。"}, true},
		"utf-8 label, euc-kr":         {body("utf-8", in(t, korean.EUCKR, "주문이 도착하지 않았습니다")), said{text: "주문이 도착하지 않았습니다"}, true},
		"no label, latin":             {body("", in(t, charmap.Windows1252, "Café déjà payé, où est-il ?")), said{text: "Café déjà payé, où est-il ?"}, true},
		"raw gbk From":                {from(in(t, gbk, "王芳 <Wang@Customer.Example>")), said{from: "王芳", address: "wang@customer.example"}, true},
		"raw gbk From in quotes":      {from(in(t, gbk, `"王芳" <wang@customer.example>`)), said{from: "王芳", address: "wang@customer.example"}, true},
		"raw gbk Subject":             {subject(in(t, gbk, "退货怎么办")), said{subject: "退货怎么办"}, true},
		"From without >":              {from("Name <a@b.example"), said{from: "Name", address: "a@b.example"}, true},
		"From <>":                     {from("<>"), said{}, false},
		"From name only":              {from("Wang Fang"), said{from: "Wang Fang"}, true},
		"From a@b..com":               {from("a@b..com"), said{address: "a@b..com"}, true},
		"From word with a space":      {from("=?utf-8?B?546L 6Iqz?= <a@b.example>"), said{from: "王芳", address: "a@b.example"}, true},
		"From word with blanks":       {from("=?utf-8?Q?Wang Fang?= <a@b.example>"), said{from: "Wang Fang", address: "a@b.example"}, false},
		"From group":                  {from("Team: Wang <a@b.example>, c@d.example;"), said{from: "Wang", address: "a@b.example"}, false},
		"From empty group":            {from("undisclosed-recipients:;"), said{}, false},
		"a character over two words":  {subject("=?utf-8?B?" + b64([]byte("退货")[:4]) + "?= =?utf-8?B?" + b64([]byte("退货")[4:]) + "?="), said{subject: "退货"}, false},
		"base64 cut within a quad":    {subject("=?utf-8?B?6YCA6L?= =?utf-8?B?Sn?="), said{subject: "退货"}, true},
		"a gbk character over two":    {subject("=?gbk?Q?=CD=CB=BB?=\r\n =?gbk?Q?=F5?="), said{subject: "退货"}, true},
		"word with 8-bit inside":      {subject("=?gbk?Q?" + in(t, gbk, "退货") + "?="), said{subject: "退货"}, true},
		"words of two charsets":       {subject("=?utf-8?B?6YCA?= =?gbk?B?u/U=?="), said{subject: "退货"}, false},
		"RFC 2231 gbk":                {attached("attachment; filename*=gbk''%B6%A9%B5%A5.pdf"), said{file: "订单.pdf"}, true},
		"RFC 2231 gbk in pieces":      {attached("attachment; filename*0*=gbk''%B6%A9%B5; filename*1*=%A5.pdf"), said{file: "订单.pdf"}, true},
		"RFC 2231 koi8-r":             {attached("attachment; filename*=koi8-r'ru'%C4%CF%CB.pdf"), said{file: "док.pdf"}, true},
		"RFC 2231 utf-8":              {attached("attachment; filename*=utf-8''%E8%AE%A2%E5%8D%95.pdf"), said{file: "订单.pdf"}, false},
		"raw gbk filename":            {attached(`attachment; filename="` + in(t, gbk, "订单") + `.pdf"`), said{file: "订单.pdf"}, true},
		"unquoted filename, space":    {attached("attachment; filename=订单 七.pdf"), said{file: "订单 七.pdf"}, false},
		"encoded word filename":       {attached(`attachment; filename="=?gbk?B?tqm1pQ==?=.pdf"`), said{file: "订单.pdf"}, false},
		"utf-7":                       {body("utf-7", "+kACNJw-"), said{text: "退货"}, false},
		"mbox line with a time":       {"From li@customer.example Mon Jan  5 09:00:00 2026\r\n" + body("utf-8", "hello"), said{text: "hello", address: "li@customer.example"}, false},
		"mbox line without a time":    {"From li@customer.example\r\n" + body("utf-8", "hello"), said{text: "hello", address: "li@customer.example"}, true},
		"unclosed multipart":          {strings.Replace(attached("attachment; filename=a.pdf"), "--b--\r\n", "", 1), said{text: "x", file: "a.pdf"}, false},
		"boundary that never comes":   {head + "Content-Type: multipart/mixed; boundary=b\r\n\r\nhello\r\n", said{text: "hello"}, true},
		"multipart without boundary":  {strings.Replace(attached("attachment; filename=a.pdf"), "; boundary=b", "", 1), said{text: "x", file: "a.pdf"}, true},
		"latin label, utf-8 bytes":    {body("iso-8859-1", "退货"), said{text: "退货"}, true},
		"unknown label, utf-8 bytes":  {body("x-nonsense", "退货"), said{text: "退货"}, false},
		"label in quotes":             {body(`"charset=gb2312"`, in(t, gbk, "退货怎么办")), said{text: "退货怎么办"}, false},
		"gbk label, damaged sequence": {body("gb2312", in(t, gbk, "退货")+"\xff!"), said{text: "退货\uFFFD!"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, alone := byUs(t, c.mail), byEnmime(c.mail)
			if wrongIn(got, c.want) != "" {
				t.Errorf("%s\n got %+v\nwant %+v", wrongIn(got, c.want), got, c.want)
			}
			if c.broken && wrongIn(alone, c.want) == "" {
				t.Errorf("the parser alone reads it rightly, too: %+v", alone)
			}
		})
	}
}

// wrongIn names the first field of want that got has not.
func wrongIn(got, want said) string {
	for _, f := range []struct{ name, got, want string }{
		{"subject", got.subject, want.subject},
		{"from", got.from, want.from},
		{"address", got.address, want.address},
		{"text", got.text, want.text},
		{"file", got.file, want.file},
	} {
		if f.want != "" && f.got != f.want {
			return fmt.Sprintf("%s is %q", f.name, f.got)
		}
	}
	return ""
}

func TestUuencoded(t *testing.T) {
	t.Parallel()
	r, s := newReader()
	in := readBy(t, r, head+"Content-Type: application/octet-stream; name=cat.txt\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n")
	if len(in.Parts) != 1 || s.file(t, in.Parts[0].Media) != "Cat" {
		t.Errorf("parts %+v", in.Parts)
	}
}

// TestGuesses: the language of the mailbox decides where bytes fit two charsets,
// and only there.
func TestGuesses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ bytes, locale, want string }{
		"chinese anywhere":     {in(t, simplifiedchinese.GBK, "退货怎么办，我的订单没有收到"), "", "退货怎么办，我的订单没有收到"},
		"chinese at a korean":  {in(t, simplifiedchinese.GBK, "退货怎么办，我的订单没有收到，谢谢"), "ko-KR", "退货怎么办，我的订单没有收到，谢谢"},
		"korean anywhere":      {in(t, korean.EUCKR, "안녕하세요 주문이 아직 도착하지 않았습니다"), "", "안녕하세요 주문이 아직 도착하지 않았습니다"},
		"korean at a chinese":  {in(t, korean.EUCKR, "안녕하세요"), "ko", "안녕하세요"},
		"traditional anywhere": {in(t, traditionalchinese.Big5, "請問我的訂單在哪裡，謝謝"), "zh-CN", "請問我的訂單在哪裡，謝謝"},
		"japanese anywhere":    {in(t, japanese.ShiftJIS, "お世話になっております。注文番号は七です。"), "zh-CN", "お世話になっております。注文番号は七です。"},
		"half-width kana":      {in(t, japanese.ShiftJIS, "ﾃｽﾄです、よろしくお願いします"), "ja", "ﾃｽﾄです、よろしくお願いします"},
		"german":               {in(t, charmap.Windows1252, "Schöne Grüße aus München"), "zh-CN", "Schöne Grüße aus München"},
		"french":               {in(t, charmap.Windows1252, "élève à côté"), "", "élève à côté"},
		"russian at a russian": {in(t, charmap.Windows1251, "Где мой заказ"), "ru-RU", "Где мой заказ"},
		"damaged utf-8":        {"退货怎么\xe5办", "zh-CN", "退货怎么\uFFFD办"},
		"cut utf-8":            {"退货怎么办"[:14], "zh-CN", "退货怎么\uFFFD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := unlabelled([]byte(c.bytes), c.locale); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestLongRuns: fields that a sender blew up are read in time in proportion to their length.
func TestLongRuns(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"words":         strings.Repeat("=?utf-8?B?6YCA?= ", 15000),
		"open words":    strings.Repeat("=?utf-8?B?", 25000),
		"continuations": strings.Repeat("\r\n a", 60000),
		"brackets":      strings.Repeat("<", 250000),
		"comments":      strings.Repeat("(", 250000),
		"quotes":        strings.Repeat(`"`, 250001),
		"commas":        strings.Repeat("a@b.c,", 40000),
		"backslashes":   strings.Repeat(`\`, 250000),
		"groups":        strings.Repeat(":", 250000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, field := range []string{"From", "To", "Subject", "References", "Content-Type", "Authentication-Results"} {
				in := readMail(t, head+field+": "+value+"\r\n\r\nx\r\n")
				if in.Kind != channels.InboundMessage {
					t.Errorf("%s: kind %s", field, in.Kind)
				}
			}
		})
	}
}

func TestRawIsKept(t *testing.T) {
	t.Parallel()
	mail := subject(in(t, simplifiedchinese.GBK, "退货"))
	if got := readMail(t, mail); !bytes.Equal(got.Raw.Bytes, []byte(mail)) {
		t.Errorf("raw is %q", got.Raw.Bytes)
	}
}
