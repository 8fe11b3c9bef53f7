package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"tributary/internal/auth"
	"tributary/internal/config"
	"tributary/internal/demo"
	"tributary/internal/dial"
	"tributary/internal/store"
)

//go:embed docs/examples/agent.html
var agentPage []byte

// stage is what the command demo adds to the service: the example page at its own address, and people who live in it.
type stage struct{ demo *demo.Demo }

// show runs the service as serve does, on data of its own, with a demo in it.
func show(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger) error {
	if err := clearStage(cfg); err != nil {
		return err
	}
	d, err := demo.New(ctx, demo.Config{
		Folder: cfg.Data, Seed: cfg.Show.Seed, Arrivals: cfg.Show.Arrivals, Agents: cfg.Show.Agents, Pace: cfg.Show.Pace, Out: out, Log: log,
	})
	if err != nil {
		return err
	}
	// The bridge is on loopback, which the service calls for nobody else.
	for _, purpose := range []string{"callback", "media"} {
		rules, err := dial.ParseRules([]string{purpose + "=" + d.Bridge()})
		if err != nil {
			return errors.Join(err, d.Close())
		}
		if cfg.DialRules == nil {
			cfg.DialRules = rules
			continue
		}
		for p, r := range rules {
			cfg.DialRules[p] = append(cfg.DialRules[p], r...)
		}
	}
	return errors.Join(serve(ctx, cfg, out, log, &stage{d}), d.Close())
}

// clearStage makes sure that the folder is a demo's, or empty: nothing that people need is ever touched. With --fresh it
// is emptied.
func clearStage(cfg *config.Config) error {
	entries, err := os.ReadDir(cfg.Data)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the demo's folder: %w", err)
	}
	ledger := filepath.Join(cfg.Data, demo.LedgerName)
	if _, err := os.Stat(ledger); err != nil {
		return fmt.Errorf("the folder %s was not made by a demo: name another with --data", cfg.Data)
	}
	if !cfg.Show.Fresh {
		return nil
	}
	// A demo that runs there keeps its data.
	if _, err := os.Stat(filepath.Join(cfg.Data, "node")); err == nil {
		node, err := store.OpenNode(cfg.Data)
		if err != nil {
			return err
		}
		defer func() { _ = node.Close() }()
	}
	switch {
	case cfg.DatabaseURL.Set(): // the keys open what is in that database; a new ledger makes a new workspace beside the old
		err = os.Remove(ledger)
	default:
		err = os.RemoveAll(cfg.Data)
	}
	if err != nil {
		return fmt.Errorf("begin the demo anew: %w", err)
	}
	return nil
}

// play gives the demo the service's address and an operator's token: all that it gets.
func (s *stage) play(ctx context.Context, h *house, url string) error {
	token, _, err := h.tokens.Sign(auth.Claims{Kind: auth.Operator}, 10*time.Minute)
	if err != nil {
		return err
	}
	return s.demo.Run(ctx, url, token)
}

func examplePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Frame-Options", "DENY")
	_, _ = w.Write(agentPage)
}
