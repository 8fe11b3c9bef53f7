package relay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"tributary/ent"
	"tributary/ent/event"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// ErrPruned is the answer to a place before the oldest event that is kept: the reader has to begin anew.
var ErrPruned = errors.New("the events after this place are no longer kept")

// ErrAhead is the answer to a place that the log has not reached: it is of another database, or of one before a restore.
var ErrAhead = errors.New("the log has not reached this place")

// Log reads the event log. It reads as the system: what a viewer may see of an event is decided by its audience.
type Log struct{ store *store.Store }

// NewLog reads the log of a store.
func NewLog(s *store.Store) *Log { return &Log{s} }

// Head is the last number given in the workspace and the last one pruned; both zero where nothing has happened yet.
// Inside a transaction it reads in that.
func (l *Log) Head(ctx context.Context, workspace gid.ID) (seq, pruned int64, err error) {
	conn := store.Raw(ctx)
	if conn == nil {
		conn = l.store.DB
	}
	rows, err := conn.QueryContext(ctx, l.store.SQL("SELECT seq, pruned FROM log_heads WHERE workspace_id = $1"), workspace)
	if err != nil {
		return 0, 0, fmt.Errorf("read the head of the log: %w", err)
	}
	if rows.Next() {
		err = rows.Scan(&seq, &pruned)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return 0, 0, fmt.Errorf("read the head of the log: %w", err)
	}
	return seq, pruned, nil
}

// Read returns up to limit events after the place, in order. It does not tell a pruned place from a quiet one: ask Head.
func (l *Log) Read(ctx context.Context, workspace gid.ID, after int64, limit int) ([]*ent.Event, error) {
	evs, err := l.store.Ent.Event.Query().Where(event.WorkspaceID(workspace), event.SeqGT(after)).Order(event.BySeq()).Limit(limit).
		All(viewer.System(ctx, workspace))
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return evs, nil
}

// Prune deletes events older than that and answers how many. It cuts a beginning off each workspace's log: an event that
// a slow clock dated too old waits for those before it, and one dated too new keeps those behind it.
func (l *Log) Prune(ctx context.Context, olderThan time.Duration) (int, error) {
	cutoff := time.Now().UTC().Add(-olderThan)
	lines, err := l.unpruned(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for workspace, head := range lines {
		var first int64
		err := l.store.DB.QueryRowContext(ctx, l.store.SQL("SELECT seq FROM events WHERE workspace_id = $1 AND at >= $2 ORDER BY seq LIMIT 1"),
			workspace, cutoff).Scan(&first)
		if errors.Is(err, sql.ErrNoRows) {
			// Events that were numbered since are above the head that was read before.
			first, err = head+1, nil
		}
		if err != nil {
			return total, fmt.Errorf("find what to prune: %w", err)
		}
		first = min(first, head+1)
		// Readers learn of the cut before the rows are gone, never after.
		if _, err = l.store.DB.ExecContext(ctx, l.store.SQL("UPDATE log_heads SET pruned = $2 WHERE workspace_id = $1 AND pruned < $2"), workspace, first-1); err != nil {
			return total, fmt.Errorf("mark what is pruned: %w", err)
		}
		n, err := l.store.Delete(ctx, "events", "workspace_id = $1 AND seq < $2", workspace, first)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// unpruned are the heads of the workspaces that keep events.
func (l *Log) unpruned(ctx context.Context) (_ map[gid.ID]int64, err error) {
	rows, err := l.store.DB.QueryContext(ctx, "SELECT workspace_id, seq FROM log_heads WHERE pruned < seq")
	if err != nil {
		return nil, fmt.Errorf("read the heads: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out := map[gid.ID]int64{}
	for rows.Next() {
		var workspace gid.ID
		var seq int64
		if err := rows.Scan(&workspace, &seq); err != nil {
			return nil, fmt.Errorf("read the heads: %w", err)
		}
		out[workspace] = seq
	}
	return out, rows.Err()
}
