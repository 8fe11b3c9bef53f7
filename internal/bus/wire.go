package bus

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"tributary/internal/gid"
)

const (
	// form begins every payload. A later form gets another letter, and nodes of this one ignore it.
	form = "a"
	// lostMark stands in a payload for notes that the sender had to forget.
	lostMark = "!"
	// perPayload keeps a payload below PostgreSQL's bound: a note takes at most 57 bytes.
	perPayload = 100
	maxPayload = 7999
)

// errPayload is the answer to what no node of this form has sent.
var errPayload = errors.New("not a payload of ours")

// parcel is what travels between nodes.
type parcel struct {
	from   string // the tag of the sender
	notes  []Note
	missed bool // the sender had to forget notes
}

// encode packs notes into payloads, at least one. A payload is words in ASCII: form, tag, then the mark of loss or
// topic:workspace:number each.
func encode(from string, notes map[Key]int64, missed bool) []string {
	var payloads []string
	var b strings.Builder
	b.WriteString(form + " " + from)
	if missed {
		b.WriteString(" " + lostMark)
	}
	inside := 0
	for k, seq := range notes {
		if inside == perPayload {
			payloads = append(payloads, b.String())
			b.Reset()
			b.WriteString(form + " " + from)
			inside = 0
		}
		b.WriteString(" " + strconv.Itoa(int(k.Topic)) + ":")
		if !k.Workspace.IsZero() {
			b.WriteString(hex.EncodeToString(k.Workspace[:]))
		}
		b.WriteString(":" + strconv.FormatInt(seq, 10))
		inside++
	}
	return append(payloads, b.String())
}

// decode reads a payload. Whoever may publish may send anything; nothing of a payload with a fault is used.
func decode(payload string) (parcel, error) {
	words := strings.Split(payload[:min(len(payload), maxPayload+1)], " ")
	if len(payload) > maxPayload || len(words) < 2 || words[0] != form || words[1] == "" {
		return parcel{}, errPayload
	}
	p := parcel{from: words[1]}
	for _, w := range words[2:] {
		if w == lostMark {
			p.missed = true
			continue
		}
		n, err := decodeNote(w)
		if err != nil {
			return parcel{}, err
		}
		p.notes = append(p.notes, n)
	}
	return p, nil
}

func decodeNote(w string) (Note, error) {
	topic, rest, _ := strings.Cut(w, ":")
	workspace, number, _ := strings.Cut(rest, ":")
	// A topic that this node does not know yet has no listeners here and does no harm.
	t, err := strconv.ParseUint(topic, 10, 8)
	if err != nil || t == 0 {
		return Note{}, errPayload
	}
	n := Note{Topic: Topic(t)}
	if workspace != "" {
		id, err := hex.DecodeString(workspace)
		if err != nil || len(id) != len(n.Workspace) {
			return Note{}, errPayload
		}
		n.Workspace = gid.ID(id)
	}
	if n.Seq, err = strconv.ParseInt(number, 10, 64); err != nil || n.Seq < 0 {
		return Note{}, errPayload
	}
	return n, nil
}
