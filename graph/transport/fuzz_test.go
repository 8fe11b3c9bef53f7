package transport

import (
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzRequest: whatever a body holds, it is read or refused.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{``, `{}`, `[]`, `{"query":"{a}"}`, `{"query":1}`, `{"query":"","variables":{"a":1e999}}`, `{"query":"\ud800"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, why := fromJSON([]byte(s))
		if (p == nil) == (why == nil) {
			t.Error(p, why)
		}
	})
}

// FuzzFrames: whatever a client sends, reading ends, and no message is longer than it may be.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x81, 0x80, 0, 0, 0, 0})
	f.Add([]byte{0x01, 0x81, 0, 0, 0, 0, 'a', 0x89, 0x80, 0, 0, 0, 0, 0x80, 0x81, 0, 0, 0, 0, 'b'})
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		s := &socket{h: &Handler{lim: Limits{Body: 100, QueueBytes: 1000, QueueFrames: 10, Write: time.Second}}, conn: near}
		s.in = strings.NewReader(string(b))
		for {
			m, err := s.next(time.Second)
			if err != nil {
				break
			}
			if len(m) > 100 {
				t.Fatal(len(m))
			}
		}
		near.Close()
		s.writer.Wait()
	})
}
