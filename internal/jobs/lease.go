package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"entgo.io/ent/dialect"

	"tributary/internal/gid"
)

// keep renews the leases of what is held and takes back what nobody renews, until stop.
func (r *Runner) keep(ctx context.Context, stop <-chan struct{}) {
	t := time.NewTicker(r.config.Lease / 3)
	defer t.Stop()
	// PostgreSQL may not have ended the sessions of a killed run when the first look passes over what they lock; without
	// another look that would wait for the lease.
	early := time.NewTimer(time.Second)
	defer early.Stop()
	for {
		select {
		case <-stop:
			return
		case <-early.C:
			if err := r.recover(ctx); err != nil {
				r.log.Error("jobs: take up what a crashed run left", "err", err)
			}
			continue
		case <-t.C:
		}
		if err := r.heartbeat(ctx); err != nil {
			r.log.Error("jobs: renew leases", "err", err)
		}
		r.expire()
		if err := r.recover(ctx); err != nil {
			r.log.Error("jobs: take back ended leases", "err", err)
		}
	}
}

// heartbeat renews all leases in one statement. A row that a transaction holds (its handler is completing it) is passed
// over rather than waited for.
func (r *Runner) heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.Lease/2)
	defer cancel()
	held := r.renewable()
	if len(held) == 0 {
		return nil
	}
	args := []any{r.holder}
	marks := make([]string, 0, len(held))
	for id := range held {
		args = append(args, id)
		marks = append(marks, fmt.Sprintf("$%d", len(args)))
	}
	lock := ""
	if r.store.Dialect == dialect.Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	began := time.Now()
	rows, err := r.store.DB.QueryContext(ctx, r.store.SQL(fmt.Sprintf(
		"UPDATE jobs SET lease_until = %s WHERE id IN (SELECT id FROM jobs WHERE id IN (%s) AND state = 'running' AND holder = $1%s) RETURNING id, attempt",
		r.clock.at(r.config.Lease), strings.Join(marks, ", "), lock)), args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		var id gid.ID
		var attempt int
		if err := rows.Scan(&id, &attempt); err != nil {
			return errors.Join(err, rows.Close())
		}
		if c := held[id]; c.Attempt == attempt {
			c.mu.Lock()
			c.until = began.Add(r.config.Lease)
			c.mu.Unlock()
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// renewable are the claims whose handlers are in time. One that ignores its deadline by a whole lease is given up, so
// that the work goes on elsewhere; its fence holds.
func (r *Runner) renewable() map[gid.ID]*Claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[gid.ID]*Claim, len(r.held))
	for id, c := range r.held {
		if time.Since(c.began) < r.kinds[c.Kind].options.Timeout+r.config.Lease {
			out[id] = c
		}
	}
	return out
}

// expire takes claims away whose lease could not be renewed in time.
func (r *Runner) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.held {
		c.mu.Lock()
		late := !c.lost && time.Now().After(c.until)
		c.mu.Unlock()
		if late {
			c.lose()
		}
	}
}

// sweep makes jobs ready again whose lease has ended: their node is gone. The attempt counts, or a job that kills its
// process would kill one after the other.
func (r *Runner) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.Lease/2)
	defer cancel()
	n, err := r.takeBack(ctx, "lease_until < "+r.clock.at(0))
	if n > 0 {
		r.log.Warn("jobs: leases of another run ended", "count", n)
		r.poke()
	}
	return err
}

// recover takes up at once what an earlier run of this node held, and what has ended meanwhile. Its own claims it never
// touches, so it may run at any time.
func (r *Runner) recover(ctx context.Context) error {
	if r.config.Node != "" {
		prefix := r.config.Node + "/"
		n, err := r.takeBack(ctx, "substr(holder, 1, $1) = $2 AND holder <> $3", len([]rune(prefix)), prefix, r.holder)
		if err != nil {
			return err
		}
		if n > 0 {
			r.poke()
		}
	}
	return r.sweep(ctx)
}

func (r *Runner) takeBack(ctx context.Context, condition string, args ...any) (int64, error) {
	lock := ""
	if r.store.Dialect == dialect.Postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	res, err := r.store.DB.ExecContext(ctx, r.store.SQL("UPDATE jobs SET state = 'ready', lease_until = NULL, holder = '' WHERE id IN"+
		" (SELECT id FROM jobs WHERE state = 'running' AND "+condition+lock+")"), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
