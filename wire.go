package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/internal/blob"
	"tributary/internal/bus"
	"tributary/internal/cluster"
	"tributary/internal/crypt"
	"tributary/internal/dial"
	"tributary/internal/limit"
	"tributary/internal/peer"
	"tributary/internal/redis"
	"tributary/internal/run"
	"tributary/internal/tokens"
)

// What joins this node with others: wake-ups, limits, rows of who lives, requests from node to node, shared files.

// jobLease is how long the work of a node that died waits for another one. Several nodes take over within ten seconds.
const jobLease = 8 * time.Second

// reach makes what goes between nodes: wake-ups through Redis where it is configured, else through PostgreSQL, and the
// limits of all nodes together in Redis.
func (h *house) reach() (err error) {
	h.bus, h.limiter = bus.NewLocal(), limit.NewMemory(time.Now, 100_000)
	switch {
	case h.cfg.RedisURL.Set():
		if h.remote, err = bus.NewRedis(bus.Options{URL: h.cfg.RedisURL.Clear(), Prefix: h.busName(), Log: h.log}); err != nil {
			return err
		}
		client, err := redis.Open(h.cfg.RedisURL.Clear())
		if err != nil {
			return err
		}
		h.limiter = limit.NewRedis(client, h.limiter, limit.RedisOptions{Prefix: h.busName(), Log: h.log})
		h.closers = append(h.closers, client.Close)
	case h.cfg.DatabaseURL.Set():
		if h.remote, err = bus.NewPostgres(bus.Options{URL: h.cfg.DatabaseURL.Clear(), Prefix: h.busName(), Log: h.log}); err != nil {
			return err
		}
	}
	if h.remote != nil {
		h.bus = h.remote
	}
	return nil
}

// busName keeps services apart that share a Redis: their keys differ, so their names do.
func (h *house) busName() string { return "tributary-" + hex.EncodeToString(h.box.Key("bus")[:6]) }

// cluster joins this node with the others.
func (h *house) cluster(publicURL string) (desk.Cluster, error) {
	roles := make([]string, len(h.cfg.Roles))
	for n, r := range h.cfg.Roles {
		roles[n] = string(r)
	}
	h.member = cluster.Join(h.store, cluster.Node{Name: h.node.Name, Peer: h.cfg.Peer.Address(), PublicURL: publicURL, Roles: roles, Version: version}, h.log)
	kind := "local"
	switch {
	case h.cfg.RedisURL.Set():
		kind = "redis"
	case h.remote != nil:
		kind = "postgres"
	}
	out := desk.Cluster{Member: h.member, Bus: func() (string, bool) { return kind, h.remote == nil || h.remote.State().Connected }}
	if !h.cfg.Peer.On() {
		return out, nil
	}
	key, err := peer.NewKey(crypt.Secret(h.cfg.PeerSecret.Clear()))
	if err != nil {
		return out, err
	}
	h.peers = peer.New(peer.Config{Key: key, Node: h.node.Name, Version: version, Log: h.log, Grace: h.cfg.Grace})
	h.client = peer.NewClient(key)
	h.closers = append(h.closers, func() error { h.client.Close(); return nil })
	out.Reach = func(ctx context.Context, n cluster.Node) error {
		_, err := h.client.Ping(ctx, n.Peer, n.Name)
		return err
	}
	return out, nil
}

// answerPeers takes requests of other nodes until ctx ends.
func (h *house) answerPeers(ctx context.Context) error {
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Peer.Address())
	if err != nil {
		return fmt.Errorf("the address %s for other nodes cannot be listened on: %w", h.cfg.Peer, err)
	}
	return h.peers.Run(ctx, lis)
}

// openFiles opens the store of files: the bucket that all nodes share, or a folder of this one.
func (h *house) openFiles(ctx context.Context, guard *dial.Guard) (blob.Store, error) {
	b, err := h.cfg.Bucket()
	if err != nil {
		return nil, err
	}
	if b == nil {
		return blob.OpenFolder(filepath.Join(h.cfg.Data, "files"))
	}
	h.bucket, err = blob.OpenS3(ctx, blob.S3Config{
		Endpoint: b.Endpoint, Region: b.Region, Bucket: b.Name, AccessKey: b.AccessKey, SecretKey: crypt.Secret(b.SecretKey),
		Prefix: b.Prefix, BucketInHost: b.InHost, Dialer: guard,
	})
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, func() error { h.bucket.Close(); return nil })
	return h.bucket, nil
}

// host is what channel kinds get. All nodes share tokens and locks through the database.
func (h *house) host(guard *dial.Guard, files blob.Store) channels.Host {
	return channels.Host{
		Tokens: tokens.New(h.store, tokens.Config{Node: h.node.Name, Now: run.Clock{}.Now, Log: h.log}), Lock: tokens.NewLock(h.store, h.node.Name),
		Blob: blob.OfChannels{Store: files}, Clock: run.Clock{}, Dial: guard,
	}
}

// bucketSweep is how often what broken uploads left is looked for.
const bucketSweep = 24 * time.Hour

func (h *house) sweepBucket(ctx context.Context) error {
	return run.Every(ctx, bucketSweep, func(ctx context.Context) {
		if err := h.bucket.Sweep(ctx); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "sweep the bucket", "error", err)
		}
	})
}

// close ends what the rooms hold open, after all parts have ended.
func (h *house) close() error {
	if err := h.member.Leave(context.Background()); err != nil { //nolint:forbidigo // after the end of all contexts
		h.log.Warn("leave", "error", err)
	}
	errs := []error{h.desk.Close(), h.store.Close()}
	for _, c := range h.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
