package email

import (
	"bufio"
	"bytes"
	"errors"
	"hash"
	"io"
	"strings"
)

// The bounds of what a mail may ask of us (see the package's invariants).
const (
	maxTopHeader  = 256 << 10 // bytes of the mail's own header that are kept
	maxPartHeader = 16 << 10  // bytes of one part's header
	maxDepth      = 20        // multiparts within each other
	maxParts      = 1000
	maxDelimiter  = 1024 // bytes of a boundary line; RFC 2046 allows 74
	lineBuffer    = 64 << 10
)

// between says what stands between the parts.
type between int

const (
	preamble between = iota
	delimiter
	epilogue
)

// sink is told what a mail is made of, in the order of its bytes. Slices are
// valid during the call only.
type sink interface {
	// begin gets the header of the mail or of a part, with the blank line that
	// ends it; cut tells that it was longer. It answers how the part divides.
	begin(header []byte, cut bool, depth int) (division, error)
	// body gets the content of a part that does not divide, still encoded. What
	// it leaves unread is skipped.
	body(content io.Reader) error
	// outside gets the bytes that belong to no part.
	outside(what between, line []byte) error
	// end closes the multipart begun last: how many parts it had, and whether
	// its closing boundary was there.
	end(parts int, closed bool) error
}

// division tells how a part divides: not at all, or at a boundary. A multipart
// whose header names no boundary divides at the first line that looks like one.
type division struct {
	multipart bool
	boundary  string
}

// splitter takes a mail apart in one pass, with memory for one line buffer. It
// knows boundaries (RFC 2046 section 5.1) and nothing of what parts mean. It is
// lenient where senders are careless: LF alone ends a line, a boundary of an
// outer multipart ends all inner ones, the end of the mail ends everything.
type splitter struct {
	in   *bufio.Reader
	sink sink
	body hash.Hash // takes all bytes after the mail's own header

	inBody  bool     // the mail's own header is over
	open    []string // boundaries of the multiparts we are in, outermost first
	midline bool     // the last chunk had no line end

	chunk []byte // put back by unread
	start bool   // of chunk
	again bool
}

func newSplitter(r io.Reader, s sink, body hash.Hash) *splitter {
	return &splitter{in: bufio.NewReaderSize(r, lineBuffer), sink: s, body: body}
}

// split reads the mail to its end. Errors are of the reader or of the sink.
func (s *splitter) split() error {
	_, err := s.part(0)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// drain reads what a broken off split left, so that the hash is of the whole body.
func (s *splitter) drain() error {
	if !s.inBody {
		s.body.Write(s.chunk) // nothing of the body was told apart: all that is left counts
		s.inBody = true
	}
	_, err := io.Copy(s.body, s.in)
	return err
}

// next returns the next line, or as much of it as the buffer holds, with its
// line end. start tells that the chunk begins a line.
func (s *splitter) next() (chunk []byte, start bool, err error) {
	if s.again {
		s.again = false
		return s.chunk, s.start, nil
	}
	chunk, err = s.in.ReadSlice('\n')
	start = !s.midline
	s.midline = errors.Is(err, bufio.ErrBufferFull)
	if s.midline || len(chunk) > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	if s.inBody {
		s.body.Write(chunk)
	}
	s.chunk, s.start = chunk, start
	return chunk, start, err
}

// unread puts the last chunk back.
func (s *splitter) unread() { s.again = true }

// hit is a boundary line: whose it is (an index of open) and whether it closes.
type hit struct {
	owner   int
	closing bool
}

// match tells whether a line is a boundary. The innermost multipart comes
// first, for senders that use one boundary twice.
func (s *splitter) match(line []byte, start bool) (hit, bool) {
	if !start || len(line) > maxDelimiter || !bytes.HasPrefix(line, []byte("--")) {
		return hit{}, false
	}
	text := string(bytes.TrimRight(line[2:], " \t\r\n"))
	for i := len(s.open) - 1; i >= 0; i-- {
		switch b := s.open[i]; {
		case b == "":
		case text == b:
			return hit{owner: i}, true
		case text == b+"--":
			return hit{owner: i, closing: true}, true
		}
	}
	return hit{}, false
}

// part reads a header and what belongs to it. It returns the boundary that
// ended the part, or io.EOF.
func (s *splitter) part(depth int) (hit, error) {
	header, cut, ended, err := s.header(depth)
	if err != nil {
		return hit{}, err
	}
	if depth == 0 && !s.inBody {
		s.inBody = true
		if s.again {
			s.body.Write(s.chunk)
		}
	}
	division, err := s.sink.begin(header, cut, depth)
	switch {
	case err != nil:
		return hit{}, err
	case division.multipart && ended == nil:
		return s.multipart(division.boundary, depth)
	case division.multipart: // a boundary stands where its header should have ended
		if err := s.sink.end(0, false); err != nil {
			return hit{}, err
		}
		line, _, err := s.next()
		if err != nil {
			return hit{}, err
		}
		return *ended, s.outside(delimiter, line)
	}
	content := &leaf{s: s, ended: ended}
	if err := s.sink.body(content); err != nil {
		return hit{}, err
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return hit{}, err
	}
	if content.ended != nil {
		return *content.ended, s.outside(delimiter, content.tail)
	}
	return hit{}, io.EOF
}

func (s *splitter) outside(what between, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	return s.sink.outside(what, line)
}

// header collects lines up to the blank one. A part whose first line is no
// field has no header. ended is the boundary that came instead of the blank line.
func (s *splitter) header(depth int) (header []byte, cut bool, ended *hit, err error) {
	limit := maxPartHeader
	if depth == 0 {
		limit = maxTopHeader
	}
	for first := true; ; first = false {
		line, start, err := s.next()
		if errors.Is(err, io.EOF) {
			return header, cut, nil, nil // the body is empty
		}
		if err != nil {
			return nil, false, nil, err
		}
		if h, ok := s.match(line, start); ok {
			s.unread()
			return header, cut, &h, nil
		}
		blank := start && len(bytes.TrimRight(line, "\r\n")) == 0
		if first && !blank && !isField(line) {
			s.unread()
			return nil, false, nil, nil
		}
		if len(header)+len(line) <= limit || blank {
			header = append(header, line...)
		} else {
			cut = true
		}
		if blank {
			return header, cut, nil, nil
		}
	}
}

// isField tells whether a line can begin a header: "Name: value", or the line
// that mbox files put before a mail.
func isField(line []byte) bool {
	if isEnvelope(line) {
		return true
	}
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && isName(bytes.TrimRight(name, " \t"))
}

func isEnvelope(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

// isName tells whether a header field may be called so (RFC 5322 section 2.2).
func isName(name []byte) bool {
	return len(name) > 0 && len(name) <= 200 && bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }) < 0
}

// multipart reads the parts up to the closing boundary, and the epilogue.
func (s *splitter) multipart(boundary string, depth int) (hit, error) {
	own := len(s.open)
	s.open = append(s.open, boundary)
	parts, closed := 0, false
	at, err := s.skip(preamble, own)
	for err == nil && at.owner == own && !at.closing {
		parts++
		at, err = s.part(depth + 1)
	}
	s.open = s.open[:own]
	if err == nil && at.owner == own {
		closed = true
		at, err = s.skip(epilogue, -1)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return hit{}, err
	}
	if err := s.sink.end(parts, closed); err != nil {
		return hit{}, err
	}
	return at, err
}

// skip hands on lines up to a boundary. Where the multipart own has none yet,
// the first line that looks like one becomes it.
func (s *splitter) skip(what between, own int) (hit, error) {
	for {
		line, start, err := s.next()
		if err != nil {
			return hit{}, err
		}
		at, ok := s.match(line, start)
		if !ok && own >= 0 && s.open[own] == "" && start {
			if b, looks := guessBoundary(line); looks {
				s.open[own] = b
				at, ok = hit{owner: own}, true
			}
		}
		if ok {
			return at, s.outside(delimiter, line)
		}
		if err := s.outside(what, line); err != nil {
			return hit{}, err
		}
	}
}

func guessBoundary(line []byte) (string, bool) {
	text := strings.TrimRight(string(line), " \t\r\n")
	if len(text) < 3 || len(text) > 200 || !strings.HasPrefix(text, "--") || strings.ContainsAny(text, " \t") || strings.HasSuffix(text, "--") {
		return "", false
	}
	return text[2:], true
}
