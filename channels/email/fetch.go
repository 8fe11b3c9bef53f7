package email

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"tributary/channels"
)

// One batch holds at most batchMails mails and, but for one mail that is larger,
// batchBytes; the core keeps it in memory.
const (
	batchMails = 20
	batchBytes = 8 << 20
	// window is how many mails' sizes are asked at once.
	window = 100
	// stride is how many mails one batch may pass over.
	stride = 2000
)

// position is where a folder has been read up to.
type position struct {
	Validity uint32 `json:"validity"`
	UID      uint32 `json:"uid"`
	// Since is when the channel began, in Unix seconds, where it began with what
	// was to come. When the server numbers the folder anew, mails above UID 0
	// and up to Old that are older than it were never ours to read.
	Since int64  `json:"since,omitempty"`
	Old   uint32 `json:"old,omitempty"`
}

func (p position) cursor(stream string) (channels.Cursor, error) {
	encoded, err := json.Marshal(p)
	return channels.Cursor{Stream: stream, Position: encoded}, err
}

// skips reports whether a mail lay in the folder before the channel began.
func (p position) skips(uid imap.UID, arrived time.Time) bool {
	return p.Since > 0 && uint32(uid) <= p.Old && !arrived.IsZero() && arrived.Unix() < p.Since
}

// place names one mail of the folder.
type place struct {
	validity uint32
	uid      imap.UID
}

// Fetch implements channels.Fetcher. What is complete when a connection breaks
// is given as a batch; the next fetch meets the broken connection again or finds
// a better one.
func (m *mailbox) Fetch(ctx context.Context, after channels.Cursor) (channels.Batch, error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return channels.Batch{}, context.Cause(ctx)
	}
	defer func() { <-m.turn }()
	s, err := m.ready(ctx)
	if err != nil {
		return channels.Batch{}, err
	}
	from, first, err := m.from(ctx, s, after)
	if err != nil {
		m.drop()
		return channels.Batch{}, err
	}
	b := batch{position: from}
	if !first {
		err = m.read(ctx, s, &b)
	}
	if err != nil {
		m.drop()
		if b.position == from {
			return channels.Batch{}, err
		}
		b.more = true
	}
	next, err := b.position.cursor(after.Stream)
	return channels.Batch{Events: b.events, Next: next, More: b.more}, err
}

// batch is one that is being filled.
type batch struct {
	position position
	events   []channels.Inbound
	bytes    int64
	passed   int
	more     bool
}

func (b *batch) full() bool {
	return len(b.events) >= batchMails || b.bytes >= batchBytes || b.passed >= stride
}

// ready returns a session in the folder: the kept one where it still works.
func (m *mailbox) ready(ctx context.Context) (*session, error) {
	readOnly := m.config.AfterFetch == afterLeave
	if m.kept != nil {
		err := m.kept.enter(ctx, m.config.Folder, readOnly)
		if err == nil {
			return m.kept, nil
		}
		m.drop() // Servers end idle connections as they like: once more.
	}
	s, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.enter(ctx, m.config.Folder, readOnly); err != nil {
		s.close()
		return nil, err
	}
	m.kept = s
	return s, nil
}

// drop ends the kept connection; the caller holds the turn.
func (m *mailbox) drop() {
	if m.kept != nil {
		m.kept.close()
		m.kept = nil
	}
}

// from returns where to read on. first: the channel begins with what is to come,
// and nothing is read now.
func (m *mailbox) from(ctx context.Context, s *session, after channels.Cursor) (p position, first bool, err error) {
	validity := s.box.UIDValidity
	if after.Position == nil {
		if m.config.From != fromNow {
			return position{Validity: validity}, false, nil
		}
		last, err := s.last(ctx)
		return position{Validity: validity, UID: uint32(last), Since: m.host.Clock.Now().Unix()}, true, err
	}
	if err := json.Unmarshal(after.Position, &p); err != nil {
		p = position{} // It is none of ours: read all, the core knows what it had.
	}
	if p.Validity == validity {
		back, err := s.back(ctx, imap.UID(p.UID))
		if err != nil || !back {
			return p, false, err
		}
	}
	s.todo = nil // It was listed under other numbers.
	last, err := s.last(ctx)
	return position{Validity: validity, Since: p.Since, Old: uint32(last)}, false, err
}

// back reports whether the folder has gone back behind last, as one does that
// was restored from a copy: new mails get numbers that were read before. Servers
// may not do so without another UIDVALIDITY (RFC 9051 section 2.3.1.1), and do.
func (s *session) back(ctx context.Context, last imap.UID) (bool, error) {
	if next := s.box.UIDNext; next == 0 || next > last {
		return false, nil
	}
	// The next number alone can be wrong; then the last mail is where it was.
	found, err := s.search(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{{{Start: last}}}})
	return err == nil && (len(found) == 0 || found[len(found)-1] < last), err
}

// last is the highest UID in the folder, or the one before the next.
func (s *session) last(ctx context.Context) (imap.UID, error) {
	if next := s.box.UIDNext; next > 0 {
		return next - 1, nil
	}
	all, err := s.search(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 1}}}})
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1], nil
}

// above lists the mails after last. The last mail of a folder is in every range
// that ends with the star, even when the range begins after it (RFC 9051 section
// 9, seq-range).
func (s *session) above(ctx context.Context, last imap.UID) ([]imap.UID, error) {
	old := func(uid imap.UID) bool { return uid <= last }
	if last < s.base {
		s.todo = nil // The cursor went back: the list has not what it passed.
	}
	s.todo, s.base = slices.DeleteFunc(s.todo, old), last
	if len(s.todo) > 0 {
		return s.todo, nil
	}
	found, err := s.search(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{{{Start: last + 1}}}})
	s.todo = slices.DeleteFunc(found, old)
	return s.todo, err
}

// read fills the batch; position is always that of the last complete mail.
func (m *mailbox) read(ctx context.Context, s *session, b *batch) error {
	if err := m.settle(ctx, s, b.position); err != nil {
		return err
	}
	uids, err := s.above(ctx, imap.UID(b.position.UID))
	if err != nil {
		return err
	}
	for len(uids) > 0 && !b.full() {
		some := uids[:min(len(uids), window)]
		facts, err := s.facts(ctx, some)
		if err != nil {
			return err
		}
		for _, uid := range some {
			if b.full() {
				break
			}
			if err := m.take(ctx, s, uid, facts[uid], b); err != nil {
				return fmt.Errorf("read mail %d: %w", uid, err)
			}
			b.position.UID, uids = uint32(uid), uids[1:]
		}
	}
	// What was read waits for its flag: the fetch that gives it comes at once.
	b.more = len(uids) > 0 || len(b.events) > 0 && m.config.AfterFetch != afterLeave
	return nil
}

// take reads one mail into the batch.
func (m *mailbox) take(ctx context.Context, s *session, uid imap.UID, f facts, b *batch) error {
	if b.position.skips(uid, f.arrived) {
		b.passed++
		return nil
	}
	at := place{b.position.Validity, uid}
	in, there, err := m.mail(ctx, s, at, f)
	if err != nil || !there {
		return err
	}
	b.events = append(b.events, in)
	b.bytes += min(f.size, maxRead)
	if m.config.AfterFetch != afterLeave {
		m.done = append(m.done, at)
	}
	return nil
}

// facts are what a server tells of a mail without sending it; all zero where it
// told nothing.
type facts struct {
	size    int64
	arrived time.Time
}

func (s *session) facts(ctx context.Context, uids []imap.UID) (map[imap.UID]facts, error) {
	list := map[imap.UID]facts{}
	err := s.wire.guard(ctx, func() error {
		options := &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true}
		found, err := s.client.Fetch(imap.UIDSetNum(uids...), options).Collect()
		for _, mail := range found {
			list[mail.UID] = facts{mail.RFC822Size, mail.InternalDate}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for sizes: %w", err)
	}
	return list, nil
}
