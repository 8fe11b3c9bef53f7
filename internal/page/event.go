package page

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"strconv"

	"tributary/internal/crypt"
	"tributary/internal/gid"
)

// ErrEventCursor is the answer to text that is no cursor of ours.
var ErrEventCursor = errors.New("not an event cursor")

// EventCursor is a signed place in a workspace's event log (scalar `EventCursor`): the number of the last event seen.
// The signature keeps clients from building places of their own, so the form may change.
type EventCursor struct {
	Workspace gid.ID
	Seq       int64
}

const macLen = 8

func (c EventCursor) mac(b []byte) []byte {
	h := hmac.New(sha256.New, crypt.Current().Key("event-cursor"))
	h.Write(b)
	return h.Sum(nil)[:macLen]
}

// String is the text form.
func (c EventCursor) String() string {
	b := binary.AppendUvarint(append([]byte(nil), c.Workspace[:]...), uint64(c.Seq)) //nolint:gosec // a seq is never negative
	return base64.RawURLEncoding.EncodeToString(append(b, c.mac(b)...))
}

// MarshalGQL writes the scalar.
func (c EventCursor) MarshalGQL(w io.Writer) { _, _ = io.WriteString(w, strconv.Quote(c.String())) }

// UnmarshalGQL reads the scalar; ErrEventCursor if it is not one that this installation signed.
func (c *EventCursor) UnmarshalGQL(v any) error {
	s, _ := v.(string)
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 16+1+macLen {
		return ErrEventCursor
	}
	body, sum := b[:len(b)-macLen], b[len(b)-macLen:]
	if !hmac.Equal(sum, c.mac(body)) {
		return ErrEventCursor
	}
	n, read := binary.Uvarint(body[16:])
	if read != len(body)-16 {
		return ErrEventCursor
	}
	c.Workspace, c.Seq = gid.ID(body[:16]), int64(n) //nolint:gosec // it was signed by String
	return nil
}
