package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"tributary/internal/config"
	"tributary/internal/dial"
	"tributary/internal/redis"
)

// doctor checks what a start needs, and says it line by line. Its error is that something is amiss.
func doctor(ctx context.Context, cfg *config.Config, out io.Writer, _ *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	type check struct {
		name string
		f    func() error
	}
	checks := []check{
		{"data folder " + cfg.Data, func() error { return writable(cfg.Data) }},
		{"keys " + cfg.KeyPath(), func() error { _, err := keys(cfg); return err }},
		{"database", func() error { return databaseAnswers(ctx, cfg) }},
		{"http " + cfg.HTTP, func() error { return free(ctx, cfg.HTTP) }},
	}
	if cfg.RedisURL.Set() {
		checks = append(checks, check{"redis", func() error { return redisAnswers(ctx, cfg) }})
	}
	if cfg.BlobURL.Set() {
		checks = append(checks, check{"files " + cfg.BlobURL.String(), func() error { return bucketAnswers(ctx, cfg) }})
	}
	if cfg.Peer.On() {
		checks = append(checks, check{"peer " + cfg.Peer.String(), func() error { return free(ctx, cfg.Peer.Address()) }})
	}
	for name, at := range map[string]config.HostPort{"sip-trunk": cfg.SIPTrunk, "sip-phone": cfg.SIPPhone} {
		if at.On() && cfg.Chosen(name) { // a default that is taken is given up for a free one
			checks = append(checks, check{name + " " + at.String(), func() error { return freeForSIP(ctx, at.Address()) }})
		}
	}
	sick := 0
	for _, c := range checks {
		line := "ok    " + c.name
		if err := c.f(); err != nil {
			line, sick = "FAIL  "+c.name+": "+err.Error(), sick+1
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	if sick > 0 {
		return fmt.Errorf("%d of %d checks failed", sick, len(checks))
	}
	return nil
}

// freeForSIP asks for both, as SIP is spoken by both.
func freeForSIP(ctx context.Context, addr string) error {
	c, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return err
	}
	return errors.Join(c.Close(), free(ctx, addr))
}

func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, ".doctor")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		return err
	}
	return os.Remove(path)
}

func databaseAnswers(ctx context.Context, cfg *config.Config) error {
	s, err := openStore(ctx, cfg, nil)
	if err != nil {
		return err
	}
	migrations, err := s.MigrationStatus(ctx)
	if err == nil {
		for _, m := range migrations {
			if !m.Applied {
				err = errors.New("its form is older than this version's: run migrate, or serve")
			}
		}
	}
	return errors.Join(err, s.Integrity(ctx), s.Close())
}

func redisAnswers(ctx context.Context, cfg *config.Config) error {
	client, err := redis.Open(cfg.RedisURL.Clear())
	if err != nil {
		return err
	}
	return errors.Join(client.Ping(ctx).Err(), client.Close())
}

// bucketAnswers opens the bucket with the keys that serve would use.
func bucketAnswers(ctx context.Context, cfg *config.Config) error {
	h := &house{cfg: cfg}
	_, err := h.openFiles(ctx, dial.New(cfg.DialRules))
	if h.bucket != nil {
		h.bucket.Close()
	}
	return err
}

func free(ctx context.Context, addr string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}
