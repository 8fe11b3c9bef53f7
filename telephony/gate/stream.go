package gate

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// stream is a connection of TCP or TLS as the SIP library sees it: it parts the messages (RFC 3261 section 18.3), answers
// keep-alives (RFC 5626 section 4.4.1) and hands on what screen let through, one message at a time.
type stream struct {
	net.Conn
	d   *door
	src source
	in  []byte // came and is no whole message yet
	out []byte // goes to the library
	// proved: a message of it was let through. Until then it has little time in all.
	proved  bool
	born    time.Time
	newline bool // the last that came was one CRLF between messages
	left    bool
	dialled bool // by us: not counted
}

// Time for a connection that has proved nothing, in all, and that is idle.
const (
	unproved = 30 * time.Second
	idle     = 15 * time.Minute
)

var (
	errFrame   = errors.New("no end of the message")
	errTooFast = errors.New("too many messages")
)

func (d *door) stream(c net.Conn, network string, dialled bool) *stream {
	s := &stream{Conn: c, d: d, born: time.Now(), dialled: dialled, proved: dialled}
	s.src = source{network: network, addr: addrPort(c.RemoteAddr()), write: func(data []byte, _ netip.AddrPort) {
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Write(data) // the reader notices a broken connection
	}}
	return s
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	for {
		if len(s.out) > 0 {
			n := copy(b, s.out)
			s.out = s.out[n:]
			return n, nil
		}
		msg, err := s.next()
		if err != nil {
			return 0, err
		}
		if msg != nil {
			if !s.d.admits(s.src.addr.Addr()) {
				return 0, errTooFast
			}
			if s.out = s.d.screen(msg, s.src); s.out != nil {
				s.proved = true
			}
			continue
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads more.
func (s *stream) fill() error {
	deadline := time.Now().Add(idle)
	if !s.proved {
		deadline = s.born.Add(unproved)
	}
	if err := s.SetReadDeadline(deadline); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := s.Conn.Read(buf)
	s.in = append(s.in, buf[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// next takes the next whole message, nil if more has to come first.
func (s *stream) next() ([]byte, error) {
	for bytes.HasPrefix(s.in, []byte("\r\n")) {
		s.in = s.in[2:]
		if s.newline {
			s.src.write([]byte("\r\n"), s.src.addr) // two are a ping, one is the answer
		}
		s.newline = !s.newline
	}
	if len(s.in) > 1 || len(s.in) == 1 && s.in[0] != '\r' {
		s.newline = false
	}
	end := bytes.Index(s.in, []byte("\r\n\r\n"))
	if end < 0 {
		if len(s.in) > maxMessage {
			return nil, errFrame
		}
		return nil, nil
	}
	n, err := bodyLength(string(s.in[:end]))
	total := end + 4 + n
	if err != nil || total > 2*maxMessage {
		// Where the next one begins cannot be known: answer this one and hang up.
		s.d.screen(withoutBody(s.in[:end+4], total > 2*maxMessage), s.src)
		return nil, errFrame
	}
	if len(s.in) < total {
		return nil, nil
	}
	msg := s.in[:total:total]
	s.in = append([]byte(nil), s.in[total:]...)
	return msg, nil
}

// withoutBody is a message whose body is not read: too long, so that screen answers 513, or of a length that is none.
func withoutBody(head []byte, long bool) []byte {
	if long {
		return append(append([]byte(nil), head...), make([]byte, maxMessage)...)
	}
	if _, err := bodyLength(string(head)); errors.Is(err, errFrame) {
		return append(append([]byte(nil), bytes.TrimSuffix(head, []byte("\r\n"))...), "Content-Length: none\r\n\r\n"...)
	}
	return head
}

// bodyLength is the Content-Length of a message's head. On a stream it must be there (section 18.3).
func bodyLength(head string) (int, error) {
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if ok && longName(strings.TrimRight(name, " \t")) == "Content-Length" {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			return int(n), err
		}
	}
	return 0, errFrame
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.d.mu.Lock()
	again := s.left
	s.left = true
	s.d.mu.Unlock()
	if !again && !s.dialled {
		s.d.leave(s.src.addr.Addr())
	}
	return s.Conn.Close()
}
