package clean

import (
	"html"
	"regexp"

	"github.com/microcosm-cc/bluemonday"
)

// HTML keeps the writing and drops what acts: scripts, styles, forms, frames, and every picture that would be loaded
// from somewhere else, because loading tells a sender who reads when. Pictures inside the message (cid:) and inside the
// text (data:, PNG, JPEG, GIF and WebP only) stay. Links stay, without the referrer and outside the page.
func HTML(s string) string {
	// One pass can leave what a second pass reads otherwise. Nothing is trusted until a pass changes nothing.
	for range 4 {
		next := pass(s)
		if next == s {
			return s
		}
		s = next
	}
	return html.EscapeString(Text(html.UnescapeString(plain.Sanitize(s))))
}

var (
	policy  = newPolicy()
	plain   = bluemonday.StrictPolicy()
	picture = regexp.MustCompile(`<img[^>]*>`) // sanitised attributes have their brackets and quotes escaped
	attr    = regexp.MustCompile(` ([a-z]+)="[^"]*"`)
)

func pass(s string) string {
	s = Text(policy.Sanitize(Text(s)))
	return picture.ReplaceAllStringFunc(s, func(tag string) string {
		for _, a := range attr.FindAllStringSubmatch(tag, -1) {
			if a[1] == "src" {
				return tag
			}
		}
		return "" // its address was refused: an empty frame tells nobody anything
	})
}

// newPolicy lists what is allowed. No style, class or id: styles load pictures and cover the page, the others reach into
// the page's own.
func newPolicy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("a", "abbr", "b", "blockquote", "br", "caption", "center", "cite", "code", "dd", "del", "div", "dl", "dt",
		"em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "rp", "rt",
		"ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead",
		"tr", "tt", "u", "ul", "var", "wbr")
	p.SkipElementsContent("title", "template", "textarea", "select", "xmp", "plaintext", "svg", "math", "audio", "video")

	number := regexp.MustCompile(`^[0-9]{1,4}$`)
	p.AllowAttrs("dir").Matching(regexp.MustCompile(`(?i)^(ltr|rtl|auto)$`)).Globally()
	p.AllowAttrs("lang").Matching(regexp.MustCompile(`^[a-zA-Z0-9-]{1,35}$`)).Globally()
	p.AllowAttrs("title").OnElements("a", "abbr", "img")
	p.AllowAttrs("colspan", "rowspan").Matching(number).OnElements("td", "th")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`(?i)^(left|right|center|justify)$`)).OnElements("td", "th", "tr", "p", "div")
	p.AllowAttrs("start").Matching(number).OnElements("ol")

	p.AllowAttrs("href").Matching(regexp.MustCompile(`(?i)^\s*(https?|mailto|tel):`)).OnElements("a")
	p.AllowURLSchemes("http", "https", "mailto", "tel")
	p.RequireParseableURLs(true)
	p.AllowRelativeURLs(false)
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true)

	// AllowDataURIImages lets SVG through, too, and the schemes hold for every attribute: hence the patterns.
	p.AllowAttrs("src").Matching(regexp.MustCompile(`(?i)^\s*(cid:|data:image/(png|jpeg|gif|webp);base64,)`)).OnElements("img")
	p.AllowAttrs("alt").OnElements("img")
	p.AllowAttrs("width", "height").Matching(number).OnElements("img")
	p.AllowURLSchemes("cid")
	p.AllowDataURIImages()
	return p
}
