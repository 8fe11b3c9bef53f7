package email

import (
	"context"
	"errors"
	"fmt"

	"tributary/channels"
)

// CheckHealth implements channels.HealthChecker: it logs in to both servers and
// opens the folders of the settings. It sends nothing and changes nothing.
func (m *mailbox) CheckHealth(ctx context.Context) error {
	if err := m.readable(ctx); err != nil {
		return fmt.Errorf("check reading: %w", err)
	}
	s, err := m.submit(ctx)
	if err != nil {
		return fmt.Errorf("check sending: %w", err)
	}
	s.bye()
	return nil
}

func (m *mailbox) readable(ctx context.Context) error {
	s, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	folders := []string{m.config.Folder}
	if m.config.SentFolder != "" {
		folders = append(folders, m.config.SentFolder)
	}
	if m.config.AfterFetch == afterMove {
		if !s.moves() {
			return channels.ConfigError(errors.New("neither MOVE nor UIDPLUS")).
				WithText("The mail server cannot move single mails.")
		}
		folders = append(folders, m.config.MoveTo)
	}
	for _, folder := range folders {
		if err := s.enter(ctx, folder, true); err != nil {
			return err
		}
	}
	return nil
}
