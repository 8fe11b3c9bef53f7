package transport

import (
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

var (
	errTooLong = errors.New("message too long")
	errForm    = errors.New("not a message of the protocol")
)

// next reads one text message, answering control frames on the way. silence is how long the client may say nothing.
func (s *socket) next(silence time.Duration) ([]byte, error) {
	var (
		msg   []byte
		begun bool
	)
	for {
		if !s.listen(silence) {
			return nil, errGone
		}
		head, err := ws.ReadHeader(s.in)
		if err != nil {
			return nil, err
		}
		if !head.Masked || head.Rsv != 0 {
			return nil, errForm
		}
		if head.OpCode.IsControl() {
			if err := s.control(head); err != nil {
				return nil, err
			}
			continue
		}
		if begun != (head.OpCode == ws.OpContinuation) || !begun && head.OpCode != ws.OpText {
			return nil, errForm
		}
		if head.Length > s.h.lim.Body-int64(len(msg)) {
			return nil, errTooLong
		}
		part := make([]byte, head.Length)
		if _, err := io.ReadFull(s.in, part); err != nil {
			return nil, err
		}
		ws.Cipher(part, head.Mask, 0)
		if msg == nil {
			msg = part
		} else {
			msg = append(msg, part...)
		}
		if begun = true; head.Fin {
			if !utf8.Valid(msg) {
				return nil, errForm
			}
			return msg, nil
		}
	}
}

// control answers a ping and a close.
func (s *socket) control(head ws.Header) error {
	if head.Length > ws.MaxControlFramePayloadSize || !head.Fin {
		return errForm
	}
	var buf [ws.MaxControlFramePayloadSize]byte
	body := buf[:head.Length]
	if _, err := io.ReadFull(s.in, body); err != nil {
		return err
	}
	ws.Cipher(body, head.Mask, 0)
	switch head.OpCode {
	case ws.OpPing:
		s.write(ws.MustCompileFrame(ws.NewPongFrame(body)))
	case ws.OpClose:
		return io.EOF
	}
	return nil
}
