package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"entgo.io/ent/dialect"

	"tributary/ent"
	"tributary/ent/lease"
	"tributary/internal/gid"
)

// Lease is the leadership of one piece of work: at most one holder believes in it at a time, and what must be certain
// even then is fenced by the epoch (HeldIn).
type Lease struct {
	store        *Store
	name, holder string
	ttl          time.Duration
}

// Lease names the leadership and the one who wants it. holder is for people who look, by default machine and process;
// two of one name are still two. A crashed holder is followed after ttl at the latest.
func (s *Store) Lease(name, holder string, ttl time.Duration) *Lease {
	if holder == "" {
		// An empty one in the row means that it was released.
		host, _ := os.Hostname()
		holder = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	return &Lease{store: s, name: name, holder: holder, ttl: ttl}
}

// Hold waits until the lease is ours and renews it every third of its time until ctx ends. The error is ctx's alone: a
// database that does not answer is waited for.
//
// epoch is higher than that of any holder before. lost is closed when the leadership is over: at the latest at the
// moment from which another may have it, or, after the end of ctx, when it has been released. Wait for lost after ending
// ctx; until then a goroutine runs.
func (l *Lease) Hold(ctx context.Context) (epoch int64, lost <-chan struct{}, err error) {
	for {
		// Taken before the statement: the database counts from later on, so we stop first.
		began := time.Now()
		epoch, wait, err := l.acquire(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return 0, nil, ctx.Err()
			}
			slog.WarnContext(ctx, "lease: acquire", "lease", l.name, "err", err)
		}
		if epoch > 0 {
			over := make(chan struct{})
			go l.keep(ctx, epoch, began.Add(l.ttl), over)
			return epoch, over, nil
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// acquire takes the lease if it is free; else it tells when to look again.
func (l *Lease) acquire(ctx context.Context) (epoch int64, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	// A release comes unannounced, hence the upper bound.
	wait = min(l.ttl/3, 500*time.Millisecond)
	db := l.store
	// Looking first writes nothing and locks nothing: the holder's transactions may stand on the row.
	var free bool
	err = db.DB.QueryRowContext(ctx, db.SQL("SELECT expires_at <= "+db.At(0)+" FROM leases WHERE name = $1"), l.name).Scan(&free)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, wait, fmt.Errorf("look at lease %s: %w", l.name, err)
	}
	if err == nil && !free {
		return 0, wait, nil
	}
	err = db.DB.QueryRowContext(ctx, db.SQL("INSERT INTO leases (id, name, holder, epoch, expires_at) VALUES ($1, $2, $3, 1, "+db.At(l.ttl)+
		") ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = leases.epoch + 1, expires_at = excluded.expires_at"+
		" WHERE leases.expires_at <= "+db.At(0)+" RETURNING epoch"), gid.Make(gid.Other), l.name, l.holder).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, wait, nil
	}
	if err != nil {
		return 0, wait, fmt.Errorf("take lease %s: %w", l.name, err)
	}
	return epoch, 0, nil
}

// keep renews until ctx ends or the lease is gone.
func (l *Lease) keep(ctx context.Context, epoch int64, until time.Time, over chan<- struct{}) {
	defer close(over)
	t := time.NewTicker(l.ttl / 3)
	defer t.Stop()
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			l.release(ctx, epoch)
			return
		case <-end.C:
			slog.WarnContext(ctx, "lease: lost, no renewal in time", "lease", l.name, "epoch", epoch)
			return
		case <-t.C:
		}
		began := time.Now()
		// Never wait for an answer beyond the end: another may lead from then on.
		rctx, cancel := context.WithDeadline(ctx, until)
		n, err := l.update(rctx, epoch, "expires_at = "+l.store.At(l.ttl))
		cancel()
		switch {
		case err != nil && ctx.Err() == nil:
			slog.WarnContext(ctx, "lease: renew", "lease", l.name, "err", err)
		case err == nil && n == 0:
			slog.WarnContext(ctx, "lease: lost to another", "lease", l.name, "epoch", epoch)
			return
		case err == nil:
			until = began.Add(l.ttl)
			end.Reset(time.Until(until))
		}
	}
}

// release lets the next one in at once.
func (l *Lease) release(ctx context.Context, epoch int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := l.update(ctx, epoch, "holder = '', expires_at = "+l.store.At(0)); err != nil {
		slog.WarnContext(ctx, "lease: release", "lease", l.name, "err", err)
	}
}

// update changes the lease while it is still ours; an ended one is not revived, because another may be about to take it.
func (l *Lease) update(ctx context.Context, epoch int64, set string) (int64, error) {
	res, err := l.store.DB.ExecContext(ctx, l.store.SQL("UPDATE leases SET "+set+
		" WHERE name = $1 AND epoch = $2 AND holder = $3 AND expires_at > "+l.store.At(0)), l.name, epoch, l.holder)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// HeldIn reports inside a transaction whether the lease is still of this epoch. If so it stays so until the transaction
// ends: PostgreSQL keeps the row from a successor, SQLite has one writer.
func (s *Store) HeldIn(ctx context.Context, tx *ent.Tx, name string, epoch int64) (bool, error) {
	q := tx.Lease.Query().Where(lease.Name(name), lease.Epoch(epoch), lease.HolderNEQ(""))
	if s.Dialect == dialect.Postgres {
		q.ForShare()
	}
	n, err := q.IDs(ctx)
	if err != nil {
		return false, fmt.Errorf("look at lease %s: %w", name, err)
	}
	return len(n) == 1, nil
}

// At is the SQL of the time after d: the server's on PostgreSQL, because nodes' clocks differ; this machine's on SQLite,
// which only one machine uses.
func (s *Store) At(d time.Duration) string {
	if s.Dialect == dialect.Postgres {
		return fmt.Sprintf("(clock_timestamp() + interval '%d microseconds')", d.Microseconds())
	}
	return "'" + time.Now().Add(d).UTC().Truncate(time.Microsecond).Format("2006-01-02 15:04:05.999999999-07:00") + "'"
}

// Abandon gives up at once what an earlier run of this holder still holds: it died without saying so. Call it at the
// start, before Hold; what that run may yet be writing is fenced by its epoch.
func (s *Store) Abandon(ctx context.Context, holder string) error {
	_, err := s.DB.ExecContext(ctx, s.SQL("UPDATE leases SET expires_at = "+s.At(-time.Second)+" WHERE holder = $1"), holder)
	if err != nil {
		return fmt.Errorf("give up the leases of an earlier run: %w", err)
	}
	return nil
}
