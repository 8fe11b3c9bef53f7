package siptest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/pion/rtp"
)

// Digits presses keys in the sound's stream (RFC 4733) and returns when all are sent. Each lasts 100 ms.
func (c *Call) Digits(ctx context.Context, digits string) error {
	last, err := c.press(digits)
	if err != nil {
		return err
	}
	select {
	case <-last:
		return nil
	case <-c.Ended():
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// press puts keys into the line; the channel is closed when the last one is out.
func (m *media) press(digits string) (<-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.eventOut == 0 {
		return nil, errors.New("the far end takes no telephone-event")
	}
	if !m.open {
		return nil, errors.New("nothing is sent on this call now")
	}
	var last <-chan struct{}
	for _, digit := range digits {
		code := strings.IndexRune(keyNames, digit)
		if code < 0 {
			return nil, fmt.Errorf("%q is no key", digit)
		}
		k := &press{code: uint8(code), finished: make(chan struct{})}
		m.keys, last = append(m.keys, k), k.finished
	}
	if last == nil {
		return nil, errors.New("no keys to press")
	}
	return last, nil
}

// InfoDigits presses keys by INFO requests of application/dtmf-relay (RFC 6086), each of which has to be accepted.
func (c *Call) InfoDigits(ctx context.Context, digits string) error {
	for _, digit := range digits {
		body := fmt.Sprintf("Signal=%c\r\nDuration=160\r\n", digit)
		if res, err := c.request(ctx, sip.INFO, []byte(body), sip.NewHeader("Content-Type", "application/dtmf-relay")); err != nil {
			return fmt.Errorf("INFO with %q: %w", digit, err)
		} else if !res.IsSuccess() {
			return &StatusError{Method: "INFO", Code: res.StatusCode, Reason: res.Reason}
		}
	}
	return nil
}

// DigitsReceived are the keys that came in the sound's stream.
func (c *Call) DigitsReceived() string {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	return string(c.digits)
}

// InfoReceived are the keys that came by INFO.
func (c *Call) InfoReceived() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.info)
}

// AwaitDigits waits until these keys have come in the sound's stream, and no others.
func (c *Call) AwaitDigits(ctx context.Context, digits string) error {
	return c.await(ctx, "the keys "+digits, func() bool { return c.DigitsReceived() == digits })
}

// takeInfo answers an INFO and notes its key.
func (c *Call) takeInfo(req *sip.Request) int {
	kind := ""
	if h := req.ContentType(); h != nil {
		kind = strings.ToLower(h.Value())
	}
	key := ""
	switch kind {
	case "application/dtmf":
		key = strings.TrimSpace(string(req.Body()))
	case "application/dtmf-relay":
		for line := range strings.Lines(string(req.Body())) {
			if name, value, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.TrimSpace(name), "signal") {
				key = strings.TrimSpace(value)
			}
		}
	default:
		return sip.StatusUnsupportedMediaType
	}
	if len(key) != 1 || !strings.Contains(keyNames, key) {
		return sip.StatusBadRequest
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info = append(c.info, key[0])
	return sip.StatusOK
}

// press is one key that is being sent (RFC 4733 section 2.5): it tells its growing length every 20 ms, its end thrice.
type press struct {
	code     uint8
	frames   int // sent so far
	began    uint32
	finished chan struct{}
}

const (
	keyNames    = "0123456789*#ABCD" // by their code, RFC 4733 section 3.2
	pressFrames = 5                  // 100 ms
	pauseFrames = 4                  // 80 ms of sound between keys, so that a receiver tells a repeated one apart
	keyVolume   = 10
)

// key sends a part of the key whose turn it is, and reports whether this tick is its.
func (m *media) key() bool {
	if len(m.keys) == 0 {
		return false
	}
	k := m.keys[0]
	if k.frames == 0 {
		k.began = m.timestamp
	}
	k.frames++
	if k.frames > pressFrames {
		if k.frames == pressFrames+pauseFrames {
			close(k.finished)
			m.keys = m.keys[1:]
		}
		return false
	}
	end, times := byte(0), 1
	if k.frames == pressFrames {
		end, times = 0x80, 3
	}
	payload := []byte{k.code, end | keyVolume, 0, 0}
	binary.BigEndian.PutUint16(payload[2:], uint16(k.frames*frameSize))
	for range times {
		m.packet(m.eventOut, k.began, k.frames == 1, payload)
	}
	m.marker = true
	return true
}

// takeKey notes a key once: all its packets bear the time of its beginning.
func (m *media) takeKey(p rtp.Packet) {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(keyNames) {
		m.stats.Foreign++
		return
	}
	if m.anyKey && p.Timestamp == m.lastKey {
		return
	}
	m.anyKey, m.lastKey = true, p.Timestamp
	m.digits = append(m.digits, keyNames[p.Payload[0]])
}
