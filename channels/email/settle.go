package email

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"
)

// settle flags or moves what the core has stored: all up to the cursor that it
// gave us. The list is in memory only. When it is lost with the process, some
// mails stay as they are, which harms nothing: the cursor decides what is read,
// never a flag.
//
// A server that refuses does not hold up the reading. CheckHealth tells what is
// wrong.
func (m *mailbox) settle(ctx context.Context, s *session, p position) error {
	var now []imap.UID
	rest := m.done[:0:0]
	for _, at := range m.done {
		switch {
		case at.validity != p.Validity: // The number means another mail today.
		case uint32(at.uid) <= p.UID:
			now = append(now, at.uid)
		default:
			rest = append(rest, at)
		}
	}
	if len(now) == 0 {
		m.done = rest
		return nil
	}
	set := imap.UIDSetNum(now...)
	err := s.wire.guard(ctx, func() error {
		if m.config.AfterFetch == afterMove {
			return s.move(set, m.config.MoveTo)
		}
		return s.flag(set, imap.FlagSeen)
	})
	if _, is := errors.AsType[*imap.Error](err); err != nil && !is {
		return err
	}
	m.done = rest
	return nil
}

func (s *session) flag(set imap.UIDSet, flag imap.Flag) error {
	change := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}
	return s.client.Store(set, change, nil).Close()
}

// moves reports whether the server can take single mails out of a folder.
func (s *session) moves() bool {
	caps := s.client.Caps()
	return caps.Has(imap.CapMove) || caps.Has(imap.CapUIDPlus)
}

// move needs MOVE (RFC 6851) or UIDPLUS (RFC 4315): a plain EXPUNGE would also
// remove what other people have marked. Each step waits for the one before it,
// since a mail that was not copied must not be deleted.
func (s *session) move(set imap.UIDSet, folder string) error {
	switch {
	case s.client.Caps().Has(imap.CapMove):
		_, err := s.client.Move(set, folder).Wait()
		return err
	case !s.moves():
		return nil
	}
	if _, err := s.client.Copy(set, folder).Wait(); err != nil {
		return err
	}
	if err := s.flag(set, imap.FlagDeleted); err != nil {
		return err
	}
	return s.client.UIDExpunge(set).Close()
}
