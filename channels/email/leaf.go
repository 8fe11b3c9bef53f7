package email

import (
	"bytes"
	"errors"
	"io"
)

// leaf is the content of a part. The line end before a boundary belongs to the
// boundary, so it is held until the next line is known.
type leaf struct {
	s     *splitter
	data  []byte // of the splitter's chunk, not yet read
	held  []byte // a line end, or a CR that may become one
	queue []byte // held bytes that turned out to be content
	ended *hit
	eof   bool
	tail  []byte // the boundary line and the line end before it
}

// Read implements io.Reader.
func (l *leaf) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(l.queue) == 0 && len(l.data) == 0 {
			err := l.fill()
			if err != nil && n > 0 {
				return n, nil // comes again
			}
			if err != nil {
				return 0, err
			}
		}
		k := copy(p[n:], l.queue)
		l.queue, n = l.queue[k:], n+k
		if len(l.queue) == 0 {
			k = copy(p[n:], l.data)
			l.data, n = l.data[k:], n+k
		}
	}
	return n, nil
}

func (l *leaf) fill() error {
	if l.ended != nil && l.tail == nil && !l.eof { // the boundary stands where the header should have ended
		line, _, err := l.s.next()
		if err != nil {
			return err
		}
		l.tail, l.eof = append(l.tail, line...), true
	}
	if l.eof {
		return io.EOF
	}
	chunk, start, err := l.s.next()
	if errors.Is(err, io.EOF) {
		l.queue, l.held, l.eof = l.held, nil, true // without a boundary it is content
		if len(l.queue) > 0 {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if h, ok := l.s.match(chunk, start); ok {
		l.ended, l.eof = &h, true
		l.tail = append(append(l.tail, l.held...), chunk...)
		return io.EOF
	}
	l.data = chunk[:len(chunk)-lineEnd(chunk)]
	end := chunk[len(l.data):]
	if len(l.data) == 0 && len(l.held) == 1 && l.held[0] == '\r' && string(end) == "\n" { // CR and LF in two buffers
		l.held = crlf
		return nil
	}
	l.queue, l.held = l.held, nil
	switch string(end) {
	case "\r\n":
		l.held = crlf
	case "\n":
		l.held = lf
	case "\r":
		l.held = cr
	}
	return nil
}

// The line ends that are held; never written to.
var crlf, lf, cr = []byte("\r\n"), []byte("\n"), []byte("\r")

// lineEnd is the length of a CRLF, an LF, or a CR that the buffer's end cut off from its LF.
func lineEnd(chunk []byte) int {
	switch {
	case bytes.HasSuffix(chunk, []byte("\r\n")):
		return 2
	case bytes.HasSuffix(chunk, []byte("\n")), bytes.HasSuffix(chunk, []byte("\r")):
		return 1
	}
	return 0
}
