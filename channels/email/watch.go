package email

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	// idleSpan is how long IDLE runs before it is begun anew. RFC 2177 asks for
	// less than 29 minutes; much less, since only then a dead peer is noticed.
	idleSpan = 4 * time.Minute
	// noopSpan is how often a server without IDLE is asked.
	noopSpan = time.Minute
)

var errEnded = errors.New("the mail server ended the connection")

// Watch implements channels.Watcher on a connection of its own: by IDLE, or by
// asking where the server has none.
func (m *mailbox) Watch(ctx context.Context, _ string, wake func()) error {
	s, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.enter(ctx, m.config.Folder, true); err != nil {
		return err
	}
	wake() // Something may have come while nobody watched.
	round := m.poll
	if s.client.Caps().Has(imap.CapIdle) {
		round = m.idle
	}
	for {
		if err := round(ctx, s, wake); err != nil {
			return fmt.Errorf("watch folder %q: %w", m.config.Folder, err)
		}
	}
}

// idle is one round of IDLE.
func (m *mailbox) idle(ctx context.Context, s *session, wake func()) error {
	var idle *imapclient.IdleCommand
	err := s.wire.guard(ctx, func() (err error) {
		idle, err = s.client.Idle()
		return err
	})
	if err != nil {
		return err
	}
	err = m.wait(ctx, s, m.host.Clock.After(idleSpan), wake)
	if err != nil {
		s.wire.cut()
		_ = idle.Close() // Waits for its goroutine; the connection is cut.
		return err
	}
	return s.wire.guard(ctx, func() error {
		if err := idle.Close(); err != nil {
			return err
		}
		return idle.Wait()
	})
}

// poll is one round without IDLE: after NOOP the server tells what is new.
func (m *mailbox) poll(ctx context.Context, s *session, wake func()) error {
	if err := m.wait(ctx, s, m.host.Clock.After(noopSpan), wake); err != nil {
		return err
	}
	return s.wire.guard(ctx, func() error { return s.client.Noop().Wait() })
}

// wait passes on what the server tells until the timer fires.
func (m *mailbox) wait(ctx context.Context, s *session, timer <-chan time.Time, wake func()) error {
	for {
		select {
		case <-s.news:
			wake()
		case <-timer:
			return nil
		case <-s.client.Closed():
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
