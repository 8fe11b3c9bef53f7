package email

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tributary/channels"
)

const (
	maxBody       = 1 << 20   // bytes of one text that are kept
	maxBodies     = 2 << 20   // of all of them
	maxInner      = 64 << 10  // bytes of a report or of a mail within the mail that are read
	maxInners     = 512 << 10 // of all of them
	maxAllHeaders = 1 << 20   // bytes of the headers of all parts
)

// piece is what one part of the mail has become.
type piece struct {
	media    media  // its Content-Type
	name     string // the file name it asks for
	cid      string // its Content-ID without brackets
	charset  string
	body     bool   // a text that is shown as the message
	text     []byte // of a body
	head     []byte // the beginning of a report's or an inner mail's content
	blob     string // of a file
	size     int64
	encoding string
	cut      bool
}

// collector is the sink that makes pieces of a mail. Files go straight into the
// file store. What is left is small: it becomes the skeleton, a clean mail of
// the same shape with texts in known charsets, which the parser reads.
type collector struct {
	ctx    context.Context // of one call of read
	blob   channels.Blob
	locale string

	top      header
	topCut   bool // what stood below is not known
	pieces   []*piece
	skeleton bytes.Buffer
	open     []container
	next     *piece // whose body comes

	texts, heads, headers   int // bytes so far
	lost, unclosed, noParts bool
	storeErr                error
}

// container is a multipart that has begun and not ended.
type container struct {
	kind     string // "mixed"
	report   bool   // a delivery report
	boundary string // in the skeleton
	preamble []byte
}

// begin implements sink.
func (c *collector) begin(block []byte, cut bool, depth int) (division, error) {
	h := parseHeader(block, c.locale)
	if depth == 0 {
		c.top, c.topCut = h, cut
	} else if c.headers += len(block); c.headers > maxAllHeaders {
		h, cut = header{locale: c.locale}, true
	}
	c.lost = c.lost || cut
	p := c.describe(h)
	c.pieces = append(c.pieces, p)
	if kind, ok := strings.CutPrefix(p.media.name, "multipart/"); ok && depth < maxDepth && len(c.pieces) <= maxParts {
		m := container{kind: kind, boundary: "=_" + strconv.Itoa(len(c.pieces))}
		m.report = kind == "report" && strings.EqualFold(p.media.params["report-type"], "delivery-status")
		c.partLine()
		fmt.Fprintf(&c.skeleton, "Content-Type: multipart/%s; boundary=%q\r\n\r\n", kind, m.boundary)
		c.open = append(c.open, m)
		return division{multipart: true, boundary: boundaryParam(p.media)}, nil
	}
	c.lost = c.lost || strings.HasPrefix(p.media.name, "multipart/") // too deep or too many: a file with all in it
	c.next = p
	return division{}, nil
}

// boundaryParam is the boundary without what RFC 2046 does not allow at its end.
func boundaryParam(m media) string { return strings.TrimRight(m.params["boundary"], " \t") }

// describe reads a part's own fields.
func (c *collector) describe(h header) *piece {
	p := &piece{media: parseMedia(h.raw("content-type"), c.locale), encoding: h.plain("content-transfer-encoding")}
	disposition := parseMedia(h.raw("content-disposition"), c.locale)
	for _, name := range []string{disposition.params["filename"], disposition.params["name"], p.media.params["name"], p.media.params["filename"], p.media.params["file"]} {
		if p.name == "" {
			p.name = name
		}
	}
	if p.media.name == "" || !strings.Contains(p.media.name, "/") {
		p.media.name = "text/plain" // RFC 2045 section 5.2
		if p.name != "" {
			p.media.name = binaryType
		}
	}
	if p.media.name == "text/plain" && len(c.open) > 0 && c.open[len(c.open)-1].kind == "digest" && !h.has("content-type") {
		p.media.name = mailType // RFC 2046 section 5.1.5
	}
	p.charset = p.media.params["charset"]
	p.cid = strings.Trim(strings.TrimSpace(h.plain("content-id")), "<> ")
	p.body = c.isBody(p, disposition.name)
	return p
}

// isBody tells text that is the message from text that is a file. A name makes
// a file of it, but for the only part and for an alternative: some clients name those.
func (c *collector) isBody(p *piece, disposition string) bool {
	if p.media.name != "text/plain" && p.media.name != "text/html" || disposition == "attachment" {
		return false
	}
	return p.name == "" || len(c.open) == 0 || c.open[len(c.open)-1].kind == "alternative"
}

// body implements sink.
func (c *collector) body(content io.Reader) error {
	p := c.next
	if len(c.pieces) > maxParts {
		c.lost = true
		c.pieces = c.pieces[:maxParts]
		return nil
	}
	content = decoded(content, p.encoding)
	var err error
	switch {
	case p.body:
		err = c.text(p, content)
	case c.inReport():
		err = c.report(p, content)
	default:
		err = c.file(p, content)
	}
	if err != nil {
		return err
	}
	c.lost = c.lost || p.cut
	c.put(p)
	return nil
}

func (c *collector) inReport() bool {
	return len(c.open) > 0 && c.open[len(c.open)-1].report
}

// text keeps a body, up to its bounds.
func (c *collector) text(p *piece, content io.Reader) (err error) {
	p.text, p.cut, err = readUpTo(content, min(maxBody, maxBodies-c.texts))
	c.texts += len(p.text)
	return err
}

// report keeps the beginning of a machine's report, or of the mail it is about.
func (c *collector) report(p *piece, content io.Reader) (err error) {
	p.head, _, err = readUpTo(content, min(maxInner, maxInners-c.heads))
	c.heads += len(p.head)
	return err
}

// file streams a file into the store.
func (c *collector) file(p *piece, content io.Reader) error {
	if isMail(p.media.name) || isStatus(p.media.name) {
		kept := &prefix{in: content, room: min(maxInner, maxInners-c.heads)}
		defer func() { p.head, c.heads = kept.head, c.heads+len(kept.head) }()
		content = kept
	}
	watched := &watch{in: content}
	key, size, err := c.blob.Put(c.ctx, watched, p.media.name)
	if err != nil {
		if watched.err == nil { // else the mail's reader failed, and the store only says so
			c.storeErr = fmt.Errorf("store attachment: %w", err)
		}
		return err
	}
	p.blob, p.size = key, size
	return nil
}

func isMail(name string) bool { return name == mailType || name == "message/global" }

func isStatus(name string) bool {
	return name == "message/delivery-status" || name == "message/global-delivery-status"
}

// readUpTo reads at most max bytes and tells whether there was more.
func readUpTo(r io.Reader, max int) (b []byte, more bool, err error) {
	b, err = io.ReadAll(io.LimitReader(r, int64(max)+1))
	if len(b) > max {
		return b[:max], true, err
	}
	return b, false, err
}

// prefix keeps the first bytes that pass.
type prefix struct {
	in   io.Reader
	room int
	head []byte
}

// Read implements io.Reader.
func (p *prefix) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	take := min(n, p.room)
	p.head, p.room = append(p.head, b[:take]...), p.room-take
	return n, err
}

// watch remembers the error of what it reads.
type watch struct {
	in  io.Reader
	err error
}

// Read implements io.Reader.
func (w *watch) Read(b []byte) (int, error) {
	n, err := w.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// outside implements sink. Only text before a first boundary that never comes is kept.
func (c *collector) outside(what between, line []byte) error {
	if what != preamble {
		return nil
	}
	m := &c.open[len(c.open)-1]
	m.preamble = append(m.preamble, line[:max(0, min(len(line), maxInner-len(m.preamble)))]...)
	return nil
}

// end implements sink.
func (c *collector) end(parts int, closed bool) error {
	m := c.open[len(c.open)-1]
	if parts == 0 {
		c.noParts = true
		p := &piece{media: media{name: "text/plain"}, body: true, text: m.preamble[:max(0, min(len(m.preamble), maxBodies-c.texts))]}
		c.texts += len(p.text)
		c.pieces = append(c.pieces, p)
		c.put(p)
	}
	c.unclosed = c.unclosed || !closed
	fmt.Fprintf(&c.skeleton, "\r\n--%s--\r\n", m.boundary)
	c.open = c.open[:len(c.open)-1]
	return nil
}

// partLine begins a part of the skeleton.
func (c *collector) partLine() {
	if len(c.open) > 0 {
		fmt.Fprintf(&c.skeleton, "\r\n--%s\r\n", c.open[len(c.open)-1].boundary)
	}
}

// pieceField names the piece that a part of the skeleton stands for. The
// skeleton has no field that a sender wrote, so nobody else can name one.
const pieceField = "X-Piece"

// put writes a piece into the skeleton: a body with its text, any other empty.
func (c *collector) put(p *piece) {
	number := 0
	for i, known := range c.pieces {
		if known == p {
			number = i
		}
	}
	c.partLine()
	if !p.body {
		fmt.Fprintf(&c.skeleton, "Content-Type: %s\r\n%s: %d\r\nContent-Disposition: attachment\r\n\r\n", binaryType, pieceField, number)
		return
	}
	text, charset := repair(p.text, p.charset, c.locale, p.media.name == "text/html")
	fmt.Fprintf(&c.skeleton, "Content-Type: %s; charset=%q\r\n%s: %d\r\nContent-Transfer-Encoding: base64\r\n\r\n", p.media.name, charset, pieceField, number)
	writeLines(&c.skeleton, text)
}

// writeLines writes base64 in lines of 76.
func writeLines(w *bytes.Buffer, b []byte) {
	const raw = 57
	w.Grow(len(b)/raw*78 + 80)
	var line [76]byte
	for len(b) > 0 {
		n := min(raw, len(b))
		base64.StdEncoding.Encode(line[:], b[:n])
		w.Write(line[:base64.StdEncoding.EncodedLen(n)])
		w.WriteString("\r\n")
		b = b[n:]
	}
}
