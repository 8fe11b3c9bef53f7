package email

import (
	stdhtml "html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"tributary/internal/clean"
)

// quoteClasses and quoteIDs are how clients mark what they quote, and signatures.
var (
	quoteClasses = []string{"gmail_quote", "gmail_quote_container", "yahoo_quoted", "moz-cite-prefix", "ntes-mailmaster-quote", "protonmail_quote", "gmail_signature", "moz-signature"}
	quoteIDs     = []string{"mailcontentcontainer", "divrplyfwdmsg", "appendonsend", "olk_src_body_section"}
	openEnded    = []string{"divrplyfwdmsg", "appendonsend"} // what is quoted stands behind these, not within
)

// htmlText is the text of an HTML body, divided where its client marked a
// quotation. It reads tokens and builds no tree: a body can be deep and broken.
type htmlText struct {
	own, quoted flow
	skip        atom.Atom // inside of an element that is not shown
	skipDepth   int
	within      string // the element that holds the quotation, "" outside
	withinDepth int
	rest        bool // all that follows is quoted
	answered    bool // the sender wrote below a quotation
	links       []string
}

// textOfHTML returns what the sender wrote and what he quoted.
func textOfHTML(body string, strip bool) (own, quoted string) {
	t := &htmlText{}
	z := html.NewTokenizer(strings.NewReader(body))
	for {
		switch z.Next() {
		case html.ErrorToken:
			own, quoted = t.own.String(), t.quoted.String()
			if quoted != "" && (t.answered || own == "") {
				return textOfHTML(body, false) // between what he quoted, or nothing else: all is his
			}
			return own, quoted
		case html.TextToken:
			t.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			t.start(z.Token(), strip)
		case html.EndTagToken:
			t.end(z.Token())
		}
	}
}

func (t *htmlText) flow() *flow {
	if t.within != "" || t.rest {
		return &t.quoted
	}
	return &t.own
}

func (t *htmlText) text(s string) {
	if t.skip != 0 {
		return
	}
	if t.within == "" && !t.rest && t.quoted.started() && strings.TrimFunc(s, invisible) != "" {
		t.answered = true
	}
	t.flow().text(s)
}

func invisible(r rune) bool {
	return unicode.IsSpace(r) || r == '\u200b' || r == '\u00ad' || r == '\u200c' || r == '\ufeff' || r == '\u034f'
}

var (
	hidden     = map[atom.Atom]bool{atom.Script: true, atom.Style: true, atom.Title: true, atom.Template: true, atom.Svg: true, atom.Select: true, atom.Textarea: true}
	void       = map[atom.Atom]bool{atom.Br: true, atom.Img: true, atom.Hr: true, atom.Input: true, atom.Meta: true, atom.Link: true, atom.Wbr: true, atom.Col: true}
	paragraphs = map[atom.Atom]bool{atom.P: true, atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true, atom.Ul: true, atom.Ol: true, atom.Table: true, atom.Blockquote: true, atom.Pre: true, atom.Hr: true}
	lineBlocks = map[atom.Atom]bool{atom.Div: true, atom.Tr: true, atom.Li: true, atom.Dt: true, atom.Dd: true, atom.Section: true, atom.Article: true, atom.Center: true}
)

func (t *htmlText) start(tag html.Token, strip bool) {
	if t.skip != 0 {
		if tag.DataAtom == t.skip && tag.Type == html.StartTagToken {
			t.skipDepth++
		}
		return
	}
	if hidden[tag.DataAtom] && tag.Type == html.StartTagToken {
		t.skip, t.skipDepth = tag.DataAtom, 1
		return
	}
	if strip {
		t.quotes(tag)
	}
	f := t.flow()
	switch {
	case paragraphs[tag.DataAtom]:
		f.breakLine(2)
	case lineBlocks[tag.DataAtom]:
		f.breakLine(1)
	case tag.DataAtom == atom.Br:
		f.newLine()
	case tag.DataAtom == atom.Td || tag.DataAtom == atom.Th:
		f.space = true
	case tag.DataAtom == atom.Img:
		f.text(attribute(tag, "alt"))
	case tag.DataAtom == atom.A:
		t.links = append(t.links[:min(len(t.links), 20)], attribute(tag, "href"))
		f.mark()
	}
	if tag.DataAtom == atom.Li {
		f.text("- ")
	}
	if tag.DataAtom == atom.Pre {
		f.pre = true
	}
}

// quotes notes where a quotation begins and how deep it is.
func (t *htmlText) quotes(tag html.Token) {
	if tag.Type != html.StartTagToken || t.rest || void[tag.DataAtom] {
		return
	}
	if t.within != "" {
		if tag.Data == t.within {
			t.withinDepth++
		}
		return
	}
	id := strings.ToLower(attribute(tag, "id"))
	switch {
	case slices.Contains(openEnded, id):
		t.rest = true
	case slices.Contains(quoteIDs, id), tag.Data == "includetail",
		tag.DataAtom == atom.Blockquote && strings.EqualFold(attribute(tag, "type"), "cite"),
		slices.ContainsFunc(strings.Fields(attribute(tag, "class")), func(c string) bool { return slices.Contains(quoteClasses, strings.ToLower(c)) }):
		t.within, t.withinDepth = tag.Data, 1
	}
}

func (t *htmlText) end(tag html.Token) {
	if t.skip != 0 {
		if tag.DataAtom == t.skip {
			if t.skipDepth--; t.skipDepth == 0 {
				t.skip = 0
			}
		}
		return
	}
	f := t.flow()
	switch {
	case tag.DataAtom == atom.A && len(t.links) > 0:
		f.link(t.links[len(t.links)-1])
		t.links = t.links[:len(t.links)-1]
	case tag.DataAtom == atom.Pre:
		f.pre = false
		f.breakLine(2)
	case paragraphs[tag.DataAtom]:
		f.breakLine(2)
	case lineBlocks[tag.DataAtom]:
		f.breakLine(1)
	}
	if t.within != "" && tag.Data == t.within {
		if t.withinDepth--; t.withinDepth == 0 {
			t.within = ""
		}
	}
}

func attribute(tag html.Token, name string) string {
	for _, a := range tag.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// flow writes running text: white space is one blank, blocks stand on lines of their own.
type flow struct {
	out    strings.Builder
	breaks int  // line ends that are due before the next word
	space  bool // a blank is due
	pre    bool
	linkAt int // where the text of a link begins
}

func (f *flow) started() bool { return f.out.Len() > 0 }

func (f *flow) text(s string) {
	for _, r := range s {
		switch {
		case f.pre && r == '\n':
			f.newLine()
		case r == '\u200b' || r == '\u00ad' || r == '\ufeff':
		case unicode.IsSpace(r) && !f.pre:
			f.space = true
		default:
			f.flush()
			f.out.WriteRune(r)
		}
	}
}

// flush writes the white space that is due.
func (f *flow) flush() {
	switch {
	case f.out.Len() == 0:
	case f.breaks > 0:
		f.out.WriteString("\n\n"[:min(f.breaks, 2)])
	case f.space:
		f.out.WriteByte(' ')
	}
	f.breaks, f.space = 0, false
}

func (f *flow) breakLine(n int) { f.breaks = max(f.breaks, n) }

func (f *flow) newLine() { f.breaks++ }

func (f *flow) mark() { f.linkAt = f.out.Len() }

// link puts an address behind its text, where the text is not the address.
func (f *flow) link(href string) {
	href = strings.TrimSpace(href)
	text := strings.TrimSpace(f.out.String()[min(f.linkAt, f.out.Len()):])
	if len(href) > 500 || text == "" || !strings.HasPrefix(href, "http://") && !strings.HasPrefix(href, "https://") || strings.Contains(href, strings.TrimSuffix(text, "/")) {
		return
	}
	f.text(" (" + href + ")")
}

// String returns the text without blanks around it.
func (f *flow) String() string { return strings.TrimSpace(f.out.String()) }

var (
	picture    = regexp.MustCompile(`<img[^>]*>`)
	contentRef = regexp.MustCompile(`(?i) src="cid:([^"]*)"`)
	metaLabel  = regexp.MustCompile(`(?i)<meta[^>]{0,300}charset\s*=\s*["']?\s*([a-z0-9_:.-]{1,40})`)
)

// maxSafeHTML is the longest HTML of a mail, in bytes, once it is cleaned; of a longer one the text is shown.
const maxSafeHTML = 2 << 20

// safeHTML is the HTML that may be shown: sanitised, and of pictures in the
// mail only those that are there. It returns which ones it shows.
func safeHTML(body string, has func(cid string) bool) (safe string, shown map[string]bool) {
	shown = map[string]bool{}
	safe = picture.ReplaceAllStringFunc(clean.HTML(body), func(tag string) string {
		m := contentRef.FindStringSubmatch(tag)
		if m == nil {
			return tag
		}
		cid := contentID(m[1])
		if !has(cid) {
			return ""
		}
		shown[cid] = true
		return strings.Replace(tag, m[0], ` src="cid:`+cid+`"`, 1) // has knows plain ids only
	})
	return safe, shown
}

// contentID reads the id in a cid: address, which may be percent-encoded (RFC 2392).
func contentID(ref string) string {
	ref = strings.Trim(strings.TrimSpace(stdhtml.UnescapeString(ref)), "<>")
	if plain, err := url.PathUnescape(ref); err == nil {
		return plain
	}
	return ref
}
