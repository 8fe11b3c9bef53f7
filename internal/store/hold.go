package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"entgo.io/ent/dialect"

	"tributary/ent"
	"tributary/ent/pull"
	"tributary/internal/gid"
)

// Holds are leases that lie in the rows of pulls themselves: a node takes, renews and gives back many of them with one
// statement each. As with Lease, the server's clock decides, and the epoch fences what must be certain.
type Holds struct {
	store  *Store
	holder string
	ttl    time.Duration
}

// Holds names who takes pulls. A crashed holder is followed after ttl at the latest.
func (s *Store) Holds(holder string, ttl time.Duration) *Holds { return &Holds{s, holder, ttl} }

// Held is a pull that is ours.
type Held struct {
	ID, Workspace, Channel gid.ID
	Stream                 string
	Epoch                  int64
}

const heldColumns = "id, workspace_id, channel_id, stream, epoch"

// Take takes up to n active pulls that nobody holds, those that waited longest first.
func (h *Holds) Take(ctx context.Context, n int) ([]Held, error) {
	skip := ""
	if h.store.Dialect == dialect.Postgres {
		skip = " FOR UPDATE SKIP LOCKED"
	}
	now := h.store.At(0)
	return h.list(ctx, "UPDATE pulls SET holder = $1, epoch = epoch + 1, watching = $3, expires_at = "+h.store.At(h.ttl)+
		" WHERE id IN (SELECT id FROM pulls WHERE active = $4 AND expires_at <= "+now+" ORDER BY expires_at, id LIMIT $2"+skip+") RETURNING "+heldColumns,
		h.holder, n, false, true)
}

// Renew keeps all that we hold and that is still active, and tells which those are. What is not among them is lost.
func (h *Holds) Renew(ctx context.Context) ([]Held, error) {
	return h.list(ctx, "UPDATE pulls SET expires_at = "+h.store.At(h.ttl)+" WHERE holder = $1 AND active = $2 AND expires_at > "+h.store.At(0)+" RETURNING "+heldColumns, h.holder, true)
}

// Release lets the next one in at once.
func (h *Holds) Release(ctx context.Context, held ...Held) error {
	if len(held) == 0 {
		return nil
	}
	marks, args := make([]string, len(held)), []any{h.holder, "", false}
	for n, x := range held {
		args = append(args, x.ID)
		marks[n] = fmt.Sprintf("$%d", n+4)
	}
	_, err := h.store.DB.ExecContext(ctx, h.store.SQL("UPDATE pulls SET holder = $2, watching = $3, expires_at = "+h.store.At(0)+" WHERE holder = $1 AND id IN ("+strings.Join(marks, ", ")+")"), args...)
	if err != nil {
		return fmt.Errorf("give pulls back: %w", err)
	}
	return nil
}

// ReleaseAll gives back what an earlier run of this holder held: it died without saying so.
func (h *Holds) ReleaseAll(ctx context.Context) error {
	_, err := h.store.DB.ExecContext(ctx, h.store.SQL("UPDATE pulls SET holder = $2, expires_at = "+h.store.At(0)+" WHERE holder = $1"), h.holder, "")
	if err != nil {
		return fmt.Errorf("give pulls back: %w", err)
	}
	return nil
}

func (h *Holds) list(ctx context.Context, query string, args ...any) (out []Held, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.ttl)
	defer cancel()
	rows, err := h.store.DB.QueryContext(ctx, h.store.SQL(query), args...)
	if err != nil {
		return nil, fmt.Errorf("hold pulls: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var x Held
		if err := rows.Scan(&x.ID, &x.Workspace, &x.Channel, &x.Stream, &x.Epoch); err != nil {
			return nil, fmt.Errorf("hold pulls: %w", err)
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

// Fenced narrows an update of a pull to the holder of this epoch: a holder that lost it changes nothing.
func (x Held) Fenced(u *ent.PullUpdate, holder string) *ent.PullUpdate {
	return u.Where(pull.ID(x.ID), pull.Epoch(x.Epoch), pull.Holder(holder))
}
