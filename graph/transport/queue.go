package transport

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/gobwas/ws"
)

// The close codes of the contract. 1013 is a client that reads more slowly than it is told; it may come again, with its
// cursor.
const (
	closeNormal    = 1000
	closeSilent    = 1001
	closeLost      = 1006 // never sent: nothing could be said any more
	closeRestart   = 1012
	closeAgain     = 1013
	closeInternal  = 1011
	closeBad       = 4400
	closeNoInit    = 4401
	closeForbidden = 4403
	closeLate      = 4408
	closeTaken     = 4409
	closeTooMany   = 4429
)

// farewell is how long a close may take: to write it, and then for the client to answer it.
const farewell = 2 * time.Second

// errGone is what waits for a client that is gone.
var errGone = errors.New("the client is gone")

// write queues one frame, in parts that may be shared with other queues. It never waits: a client whose queue is full is
// given up. What is full is decided by what waits already, so that a large answer can pass: the bound is the limit and
// one frame.
func (s *socket) write(parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	if s.bytes > s.h.lim.QueueBytes || s.frames >= s.h.lim.QueueFrames {
		s.shutLocked(closeAgain, "too slow; reconnect with your cursor")
		return
	}
	s.out = append(s.out, parts...)
	s.bytes += n
	s.frames++
	s.flushLocked()
}

// flushLocked sees to it that somebody writes. The reading goroutine outlives this one: it waits for it.
func (s *socket) flushLocked() {
	if !s.writing {
		s.writing = true
		s.writer.Go(s.flush)
	}
}

// flush lives only while there is something to write.
func (s *socket) flush() {
	for {
		s.mu.Lock()
		out, bytes, frames, last := s.out, s.bytes, s.frames, s.closing
		if len(out) == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.out = nil
		d := s.h.lim.Write
		if last {
			d = farewell
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(d)) // a closed connection fails in the write
		s.mu.Unlock()
		_, err := out.WriteTo(s.conn)
		s.mu.Lock()
		// What was written no longer counts; while closing, the numbers mean nothing any more.
		s.bytes, s.frames = max(s.bytes-bytes, 0), max(s.frames-frames, 0)
		if err != nil {
			s.abandonLocked()
		}
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
		s.mu.Unlock()
	}
}

// abandonLocked gives up on a connection that cannot be written to.
func (s *socket) abandonLocked() {
	s.closing, s.broken, s.out = true, true, nil
	if s.code == 0 {
		s.code = closeLost
	}
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reading goroutine
}

// shut says why the socket closes, instead of all that still waits, and wakes the reading goroutine to end it.
func (s *socket) shut(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutLocked(code, reason)
}

func (s *socket) shutLocked(code int, reason string) {
	if s.closing {
		return
	}
	s.closing, s.code = true, code
	body := ws.NewCloseFrameBody(ws.StatusCode(code), reason) //nolint:gosec // codes are four digits
	s.out = net.Buffers{ws.MustCompileFrame(ws.NewCloseFrame(body))}
	s.bytes, s.frames = 0, 1
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	now := time.Now()
	_ = s.conn.SetWriteDeadline(now.Add(farewell)) // also of a write that is stuck
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	s.flushLocked()
}

// cut ends the socket without a word.
func (s *socket) cut() { _ = s.conn.Close() }

// wait returns when half the queue is free.
func (s *socket) wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return errGone
		}
		if s.bytes <= s.h.lim.QueueBytes/2 && s.frames <= s.h.lim.QueueFrames/2 {
			s.mu.Unlock()
			return ctx.Err()
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen sets how long the client may be silent; false if the socket closes.
func (s *socket) listen(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(d)) // a closed connection fails in the read
	return true
}

// textFrame is a text frame around parts.
func textFrame(parts ...[]byte) [][]byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return append([][]byte{textHeader(n)}, parts...)
}

func textHeader(n int) []byte {
	switch {
	case n < 126:
		return []byte{0x81, byte(n)}
	case n <= 0xffff:
		return []byte{0x81, 126, byte(n >> 8), byte(n)} //nolint:gosec // cut on purpose
	default:
		b := []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0}
		for i := range 8 {
			b[9-i] = byte(n >> (8 * i)) //nolint:gosec // cut on purpose
		}
		return b
	}
}
