package email

import (
	"strings"
	"testing"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	const q = "\n> first\n> second\n"
	for name, c := range map[string]struct{ subject, text, own string }{
		"nothing quoted":      {"", "hello\nyou", "hello\nyou"},
		"english":             {"", "Yes.\n\nOn Mon, 5 Jan 2026 at 08:30, Support <support@example.com> wrote:" + q, "Yes."},
		"english, wrapped":    {"", "Yes.\n\nOn Mon, 5 Jan 2026 at 08:30, Support\n<support@example.com>\nwrote:" + q, "Yes."},
		"english, four lines": {"", "Yes.\n\nOn Mon, 5 Jan 2026\nat 08:30,\nSupport\nwrote:\n> x\n", "Yes.\n\nOn Mon, 5 Jan 2026\nat 08:30,\nSupport\nwrote:"},
		"english in prose":    {"", "On this the lawyer wrote:\nnothing.", "On this the lawyer wrote:\nnothing."},
		"german":              {"", "Ja.\n\nAm 05.01.2026 um 08:30 schrieb Support:" + q, "Ja."},
		"french":              {"", "Oui.\n\nLe lun. 5 janv. 2026 à 08:30, Support <support@example.com> a écrit :" + q, "Oui."},
		"spanish":             {"", "Sí.\n\nEl lun, 5 ene 2026 a las 8:30, Support (<support@example.com>) escribió:" + q, "Sí."},
		"chinese, zai":        {"", "好的。\n\n在 2026年1月5日，08:30，Support <support@example.com> 写道：" + q, "好的。"},
		"chinese, yu":         {"", "好的。\n\nSupport <support@example.com> 于2026年1月5日周一 08:30写道：\n\n请稍等", "好的。"},
		"chinese, netease":    {"", "好的。\n\n在 2026-01-05 08:30:00，\"Support\" <support@example.com> 写道：\n\n请稍等", "好的。"},
		"traditional":         {"", "好的。\n\nSupport <support@example.com> 於 2026年1月5日 週一 08:30 寫道：" + q, "好的。"},
		"japanese":            {"", "はい。\n\n2026年1月5日(月) 8:30 Support <support@example.com>:" + q, "はい。"},
		"a date in chinese":   {"", "2026年1月5日的订单有问题：\n没有收到", "2026年1月5日的订单有问题：\n没有收到"},
		"outlook":             {"", "Yes.\n\n-----Original Message-----\nFrom: x\n\nold", "Yes."},
		"qq":                  {"", "好的。\n\n------------------ 原始邮件 ------------------\n发件人: \"Support\"\n\n旧", "好的。"},
		"netease forward":     {"", "请看。\n\n-------- 转发邮件信息 --------\n发件人：x\n", "请看。"},
		"from block":          {"", "Yes.\n\nFrom: Support <support@example.com>\nSent: Monday, January 5, 2026 8:30 AM\nTo: Li <li@customer.example>\nSubject: Re: s\n\nold", "Yes."},
		"from block, rule":    {"", "Yes.\n\n________________________________\nFrom: Support <support@example.com>\nSent: Monday\nTo: Li\nSubject: Re: s\n\nold", "Yes."},
		"from block, bold":    {"", "Yes.\n\n*From:* Support\n*Sent:* Monday\n*To:* Li\n\nold", "Yes."},
		"chinese block":       {"", "好的。\n\n发件人: Support\n发送时间: 2026年1月5日 8:30\n收件人: 李\n主题: Re: s\n\n旧", "好的。"},
		"traditional block":   {"", "好的。\n\n寄件者: Support\n收件者: 李\n主旨: Re: s\n\n舊", "好的。"},
		"from in prose":       {"", "From: where do I get it?\nThanks", "From: where do I get it?\nThanks"},
		"rule in prose":       {"", "one\n____________________\ntwo", "one\n____________________\ntwo"},
		"our marker":          {"", "Yes.\n\n##- reply above this line -##\n\nold", "Yes."},
		"our marker first":    {"", "##- reply above this line -##\n\nYes.", "##- reply above this line -##\n\nYes."},
		"quoted at the end":   {"", "Yes.\n> first\n> second", "Yes."},
		"answered between":    {"", "On Mon, 5 Jan 2026 at 08:30, Support wrote:\n> one?\nYes.\n> two?\nNo.", "On Mon, 5 Jan 2026 at 08:30, Support wrote:\n> one?\nYes.\n> two?\nNo."},
		"answered below":      {"", "On 5 Jan 2026 Support wrote:\n> one?\n\nYes.", "On 5 Jan 2026 Support wrote:\n> one?\n\nYes."},
		"greeting, answered":  {"", "Hi,\n\nOn 5 Jan 2026 Support wrote:\n> one?\n\nYes.", "Hi,\n\nOn 5 Jan 2026 Support wrote:\n> one?\n\nYes."},
		"signature below":     {"", "Yes.\n\nOn 5 Jan 2026 Support wrote:\n> one?\n\n-- \nLi", "Yes."},
		"nothing but quotes":  {"", "On 5 Jan 2026 Support wrote:" + q, "On 5 Jan 2026 Support wrote:" + strings.TrimRight(q, "\n")},
		"forwarded":           {"Fwd: s", "see\n\n-----Original Message-----\nFrom: x", "see\n\n-----Original Message-----\nFrom: x"},
		"forwarded, chinese":  {"转发：s", "请看\n\n------------------ 原始邮件 ------------------\n旧", "请看\n\n------------------ 原始邮件 ------------------\n旧"},
		"signature":           {"", "Yes.\n\n-- \nLi\nBoss", "Yes."},
		"signature, no blank": {"", "Yes.\n--\nLi", "Yes."},
		"signature first":     {"", "-- \nYes.", "-- \nYes."},
		"iphone":              {"", "Yes.\n\nSent from my iPhone", "Yes."},
		"iphone, chinese":     {"", "好的\n\n发自我的iPhone", "好的"},
		"iphone above quote":  {"", "好的\n\n发自我的 iPhone\n\n在 2026年1月5日，08:30，Support <s@example.com> 写道：" + q, "好的"},
		"iphone in the text":  {"", "Sent from my heart\nand more", "Sent from my heart\nand more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own, rest := visible(c.text, c.subject)
			if own != c.own {
				t.Errorf("own %q, want %q", own, c.own)
			}
			if strings.Join(strings.Fields(own+rest), "") != strings.Join(strings.Fields(c.text), "") {
				t.Errorf("lost something: %q and %q", own, rest)
			}
		})
	}
}

func TestTextOfHTML(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ html, own, quoted string }{
		"blocks":          {"<p>one</p><p>two<br>three</p><div>four</div><div>five</div>", "one\n\ntwo\nthree\n\nfour\nfive", ""},
		"inline":          {"你<b>好</b>，<i>王</i>芳", "你好，王芳", ""},
		"white space":     {"<p>a\n  b&nbsp;c</p>", "a b c", ""},
		"entities":        {"&lt;b&gt; &amp;lt;", "<b> &lt;", ""},
		"hidden":          {"<head><title>t</title><style>p{}</style></head><script>x()</script>a<!-- c -->", "a", ""},
		"list":            {"<ul><li>one<li>two</ul>end", "- one\n- two\n\nend", ""},
		"table":           {"<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc", ""},
		"pre":             {"<pre>a\n  b</pre>c", "a\n  b\n\nc", ""},
		"link":            {`<a href="https://x.example/a">here</a>, <a href="https://x.example">x.example</a>`, "here (https://x.example/a), x.example", ""},
		"picture":         {`<img alt="logo" src=x>a`, "logoa", ""},
		"gmail":           {`<div>Yes.</div><br><div class="gmail_quote"><div class="gmail_attr">On Monday wrote:</div><blockquote class="gmail_quote">old</blockquote></div>`, "Yes.", "On Monday wrote:\n\nold"},
		"apple":           {`<div>Yes.</div><blockquote type="cite"><div>old</div></blockquote>`, "Yes.", "old"},
		"outlook":         {`<p>Yes.</p><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> x</div><p>old</p>`, "Yes.", "From: x\n\nold"},
		"thunderbird":     {`<p>Yes.</p><div class="moz-cite-prefix">On Monday:</div><blockquote type="cite">old</blockquote>`, "Yes.", "On Monday:\n\nold"},
		"yahoo":           {`<div>Yes.</div><div class="x yahoo_quoted">old</div>`, "Yes.", "old"},
		"netease":         {`<div>好的</div><div class="ntes-mailmaster-quote">旧</div>`, "好的", "旧"},
		"qq":              {`<div>好的</div><includetail><div>旧</div></includetail>`, "好的", "旧"},
		"old outlook":     {`<p>Yes.</p><span id="OLK_SRC_BODY_SECTION">old</span>`, "Yes.", "old"},
		"nested":          {`Yes.<div class=gmail_quote>a<div>b<div>c</div></div>d</div> `, "Yes.", "a\nb\nc\nd"},
		"answered below":  {`<blockquote type=cite>old?</blockquote><p>Yes.</p>`, "old?\n\nYes.", ""},
		"nothing else":    {`<div class=gmail_quote>old</div>`, "old", ""},
		"never closed":    {`Yes.<blockquote type=cite>old<p>older`, "Yes.", "old\n\nolder"},
		"class on a void": {`Yes.<br class="gmail_quote">more`, "Yes.\nmore", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own, quoted := textOfHTML(c.html, true)
			if own != c.own || quoted != c.quoted {
				t.Errorf("own %q, quoted %q", own, quoted)
			}
		})
	}
}

// TestWhichBody: the text decides where there is one; HTML where there is none.
func TestWhichBody(t *testing.T) {
	t.Parallel()
	mail := func(kind string, parts ...string) string {
		m := head + "Content-Type: multipart/" + kind + "; boundary=b\r\n\r\n"
		for i := 0; i < len(parts); i += 2 {
			m += "--b\r\nContent-Type: " + parts[i] + "\r\n\r\n" + parts[i+1] + "\r\n"
		}
		return m + "--b--\r\n"
	}
	const oldHTML = `<p>Yes.</p><div class="gmail_quote">old</div>`
	for name, c := range map[string]struct{ mail, own, quoted, html string }{
		"alternative":       {mail("alternative", "text/plain", "Yes.\r\n> old", "text/html", oldHTML), "Yes.", "> old", "<p>Yes.</p><div>old</div>"},
		"html alone":        {head + "Content-Type: text/html\r\n\r\n" + oldHTML, "Yes.", "old", "<p>Yes.</p><div>old</div>"},
		"empty text":        {mail("alternative", "text/plain", " \r\n ", "text/html", oldHTML), "Yes.", "old", "<p>Yes.</p><div>old</div>"},
		"html, then text":   {mail("alternative", "text/html", "<p>no</p>", "text/plain", "Yes."), "Yes.", "", "<p>no</p>"},
		"two texts":         {mail("alternative", "text/plain", "first", "text/plain", "second"), "first", "", ""},
		"last html":         {mail("alternative", "text/plain", "a", "text/html", "<p>1</p>", "text/html", "<p>2</p>"), "a", "", "<p>2</p>"},
		"text, text":        {mail("mixed", "text/plain", "one", "image/png", "x", "text/plain", "two"), "one\n\ntwo", "", ""},
		"html, text":        {mail("mixed", "text/html", "<p>one</p>", "text/plain", "two <b>"), "one\n\ntwo <b>", "", "<p>one</p><pre>two &lt;b&gt;</pre>"},
		"named alternative": {mail("alternative", "text/plain; name=body.txt", "a", "text/html; name=body.html", "<p>a</p>"), "a", "", "<p>a</p>"},
		"forwarded html":    {strings.Replace(head, "Message-ID", "Subject: Fwd: s\r\nMessage-ID", 1) + "Content-Type: text/html\r\n\r\n" + oldHTML, "Yes.\n\nold", "", "<p>Yes.</p><div>old</div>"},
		"html with words":   {head + "Content-Type: text/html\r\n\r\n<div>Yes.</div><div>On 5 Jan 2026, Support wrote:</div><div>old</div>", "Yes.", "On 5 Jan 2026, Support wrote:\nold", "<div>Yes.</div><div>On 5 Jan 2026, Support wrote:</div><div>old</div>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := readMail(t, c.mail)
			if textIn(in) != c.own || in.Quoted != c.quoted || in.HTML != c.html {
				t.Errorf("own %q, quoted %q, html %q", textIn(in), in.Quoted, in.HTML)
			}
		})
	}
}
