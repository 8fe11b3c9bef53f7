package email

import (
	"context"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"tributary/channels"
)

// headerMessage carries our id of a message: by it a sent mail is found, whatever
// a relay makes of the Message-ID.
const headerMessage = "X-Tributary-Message"

// Query implements channels.DeliveryQuerier by a look into the folder of sent
// mails. A mail that is not there is unknown, not failed: some servers put it
// there themselves, after a while, and our own copy comes after the mail.
func (k keeper) Query(ctx context.Context, messageID string) (channels.DeliveryAnswer, error) {
	s, err := k.connect(ctx)
	if err != nil {
		return channels.DeliveryAnswer{}, err
	}
	defer s.close()
	if err := s.enter(ctx, k.config.SentFolder, true); err != nil {
		return channels.DeliveryAnswer{}, err
	}
	found, err := s.sent(ctx, messageID)
	if err != nil {
		return channels.DeliveryAnswer{}, err
	}
	if found {
		return channels.DeliveryAnswer{State: channels.DeliverySent}, nil
	}
	return channels.DeliveryAnswer{State: channels.DeliveryUnknown}, nil
}

// sent looks for a message in the open folder. The search is for a part of the
// field (RFC 9051 section 6.4.4), and our ids all have one length.
func (s *session) sent(ctx context.Context, messageID string) (bool, error) {
	if token(messageID) == "" {
		return false, nil // Every mail has that.
	}
	found, err := s.search(ctx, &imap.SearchCriteria{
		Header: []imap.SearchCriteriaHeaderField{{Key: headerMessage, Value: token(messageID)}},
	})
	return len(found) > 0, err
}

// keep puts a copy of a sent mail into its folder, unless the server has done so
// itself. The mail is sent: a copy that fails must not make it look unsent, and
// Query then answers unknown.
func (m *mailbox) keep(ctx context.Context, messageID string, l *letter) {
	s, err := m.connect(ctx)
	if err != nil {
		return
	}
	defer s.close()
	if s.enter(ctx, m.config.SentFolder, true) != nil {
		return
	}
	if found, err := s.sent(ctx, messageID); found || err != nil {
		return
	}
	_ = s.append(ctx, m.config.SentFolder, l) // As above.
}

func (s *session) append(ctx context.Context, folder string, l *letter) error {
	err := s.wire.guard(ctx, func() error {
		options := &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}, Time: l.at}
		copied := s.client.Append(folder, l.size, options)
		if err := l.write(ctx, copied); err != nil {
			s.wire.cut() // The server waits for the rest of the mail.
			_ = copied.Close()
			return err
		}
		if err := copied.Close(); err != nil {
			return err
		}
		_, err := copied.Wait()
		return err
	})
	if err != nil {
		return fmt.Errorf("keep a copy in %q: %w", folder, err)
	}
	return nil
}
