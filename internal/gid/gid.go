// Package gid is the one identifier of every row that the contract shows: a UUIDv7 whose last byte says what kind of
// thing it names, so `node(id:)` needs no look-up and an id of the wrong kind is refused before any query runs.
//
// The text form is a three-letter kind, an underscore and Crockford base32 (`cnv_06h0…`): sortable by time and readable
// in logs. The database keeps a plain uuid (36 characters of text on SQLite). The kind stands in the last byte because
// bytes 6 and 7 hold the sub-millisecond counter of google/uuid: overwriting them would lose the order of ids made
// within one millisecond.
package gid

import (
	"database/sql/driver"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Kind is the last byte of an id.
type Kind byte

// The kinds. Numbers are stored inside ids: append, never reorder.
const (
	None Kind = iota
	Workspace
	Agent
	Role
	Session
	App
	APIKey
	AgentStatus
	CapacityProfile
	Team
	Queue
	Channel
	Customer
	Identity
	Conversation
	Participant
	Interaction
	Message
	Attachment
	TimelineItem
	Offer
	Assignment
	RoutingDecision
	RawInbound
	Job
	VisitorSession
	Bot
	Other // rows the contract never shows
	Event
	Note
	Skill
	StatusReason
	MergeCandidate
	CustomerMerge
	Call
	CallLeg
	Recording
	AgentPhone
	Flow
	FlowVersion
	Prompt
	end
)

var prefix = [end]string{
	"", "wsp", "agt", "rol", "ses", "app", "key", "ast", "cap", "tea", "que", "chn", "cus", "idn", "cnv", "par", "int",
	"msg", "att", "tli", "off", "asg", "rdc", "raw", "job", "vis", "bot", "row", "evt",
	"not", "skl", "srn", "mcd", "cmg",
	"cal", "leg", "rec", "pho", "flw", "flv", "pmt",
}

var enc = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ErrFormat is the answer to text that is no id.
var ErrFormat = errors.New("not an id")

// ID names one row. The zero ID names nothing.
type ID uuid.UUID

// New returns a maker of ids of a kind, in the form ent wants for a default.
func New(k Kind) func() ID {
	return func() ID { return Make(k) }
}

// Make returns a new id of a kind; ids made later sort later.
func Make(k Kind) ID {
	u := uuid.Must(uuid.NewV7())
	u[15] = byte(k)
	return ID(u)
}

// Numbered returns the id of the record with a number in a workspace's log: the same for every reader.
func Numbered(workspace ID, seq int64) (id ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(seq)) //nolint:gosec // numbers are positive
	copy(id[8:15], workspace[8:15])
	id[15] = byte(Event)
	return id
}

// Kind tells what the id names; None for bytes that no kind uses.
func (id ID) Kind() Kind {
	if k := Kind(id[15]); k < end {
		return k
	}
	return None
}

// IsZero reports whether the id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String is the contract's form, empty for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return prefix[id.Kind()] + "_" + enc.EncodeToString(id[:])
}

// UUID is the database's form.
func (id ID) UUID() string { return uuid.UUID(id).String() }

// Parse reads the contract's form; ErrFormat if the text is none.
func Parse(s string) (ID, error) {
	p, t, _ := strings.Cut(s, "_")
	b, err := enc.DecodeString(t)
	if err != nil || len(b) != 16 || p == "" {
		return ID{}, ErrFormat
	}
	id := ID(b)
	// The second comparison refuses spellings that decode to the same bytes: one id has one text.
	if prefix[id.Kind()] != p || id.String() != s {
		return ID{}, ErrFormat
	}
	return id, nil
}

// Value is text: lib/pq would send a byte slice as bytea.
func (id ID) Value() (driver.Value, error) { return id.UUID(), nil }

// Scan reads a uuid column of either dialect.
func (id *ID) Scan(v any) error {
	if err := (*uuid.UUID)(id).Scan(v); err != nil {
		return fmt.Errorf("scan id: %w", err)
	}
	return nil
}

// MarshalText is the contract's form, so that ids in JSON columns and logs read alike.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	x, err := Parse(string(b))
	*id = x
	return err
}

// MarshalGQL writes the scalar `ID`.
func (id ID) MarshalGQL(w io.Writer) { _, _ = io.WriteString(w, strconv.Quote(id.String())) }

// UnmarshalGQL reads the scalar `ID`. Text that is no id becomes an id that names nothing, so that a malformed, a
// foreign and an absent id get the same answer (NOT_FOUND) and none of them empties a document.
func (id *ID) UnmarshalGQL(v any) error {
	switch v := v.(type) {
	case ID:
		*id = v
		return nil
	case string:
		x, err := Parse(v)
		if err != nil {
			x = ID{}
		}
		*id = x
		return nil
	}
	return ErrFormat
}
