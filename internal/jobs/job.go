// Package jobs runs the work that a transaction leaves behind: sending, fetching, timers. A job is a row, written in
// the transaction that wants it, so neither exists without the other.
//
// A Runner claims ready jobs with a lease, gives each to the handler of its kind and keeps the lease alive. A handler
// that writes rows calls Claim.Complete inside its own transaction: then the effect and the job's end are one commit,
// and a claim whose lease was lost changes nothing (ErrLost). Failed attempts come back with back-off and jitter; after
// the last one the job is dead: kept, shown, retried by people. Jobs of one group run one at a time in order of
// creation; a job that waits for its next attempt holds up its group, a dead one does not.
//
// Neighbours: store gives transactions; bus wakes the Runner after a commit, and a poll of a second is the net beneath.
// Handlers live in desk, knowledge and insight. This package alone decides when something is tried again.
//
// Invariants: one job of a group is running at a time (a unique index, whoever claims); a claim is fenced by state,
// attempt and holder; `finished_at` is set exactly in the states done, dead and discarded; times of PostgreSQL are the
// server's. Goroutines: one that claims, one that keeps leases, one for each claimed job; Run waits for all of them.
package jobs

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"entgo.io/ent/dialect/sql"

	"tributary/ent"
	"tributary/ent/job"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// DefaultAttempts is how often a job is tried when neither it nor its kind says otherwise.
const DefaultAttempts = 20

// New is a job to be enqueued.
type New struct {
	Kind  string // which handler; required
	Group string // jobs of one group of a workspace run one at a time, in order; empty: free
	// Unique keeps out a second job of the kind and key while the first is not finished. A running one counts: it may
	// have looked before this transaction's change, so a job that must see the change needs a key of its own.
	Unique      string
	Args        any       // JSON for the handler
	RunAt       time.Time // not before; zero: at once
	MaxAttempts int       // zero: DefaultAttempts
	Subject     gid.ID    // what the job is about, for people who look
	Channel     gid.ID    // the channel whose failures it may be one of
	Workspace   gid.ID    // zero: the viewer's; another one needs a global viewer
}

// Enqueue writes the job in the transaction and wakes the runners after its commit. inserted is false where a job of the
// same unique key is not finished yet; the id is then that job's.
func Enqueue(ctx context.Context, tx *ent.Tx, n New) (id gid.ID, inserted bool, err error) {
	args, err := json.Marshal(n.Args)
	if err != nil {
		return gid.ID{}, false, fmt.Errorf("write the arguments of a %s job: %w", n.Kind, err)
	}
	v := viewer.From(ctx)
	if v == nil {
		return gid.ID{}, false, viewer.ErrNone
	}
	if n.Workspace.IsZero() {
		n.Workspace = v.Workspace
	}
	if n.Kind == "" || n.Workspace.IsZero() || n.Workspace != v.Workspace && !v.IsGlobal() {
		return gid.ID{}, false, fmt.Errorf("a %q job needs a kind and the workspace of its viewer", n.Kind)
	}
	// The one in the way may be finished between our insert and our look.
	for range 10 {
		id, inserted, err = insert(ctx, tx, n, args)
		if err == nil || !ent.IsNotFound(err) {
			break
		}
	}
	if err != nil {
		return gid.ID{}, false, fmt.Errorf("enqueue a %s job: %w", n.Kind, err)
	}
	if inserted {
		store.Announce(ctx, bus.Note{Topic: bus.Jobs})
	}
	return id, inserted, nil
}

func insert(ctx context.Context, tx *ent.Tx, n New, args []byte) (gid.ID, bool, error) {
	id := gid.Make(gid.Job)
	c := tx.Job.Create().SetID(id).SetWorkspaceID(n.Workspace).SetKind(n.Kind).SetGroupKey(n.Group).SetArgs(args)
	if !n.RunAt.IsZero() {
		c.SetRunAt(n.RunAt.UTC().Truncate(time.Microsecond))
	}
	if n.MaxAttempts > 0 {
		c.SetMaxAttempts(n.MaxAttempts)
	}
	if !n.Subject.IsZero() {
		c.SetSubjectID(n.Subject)
	}
	if !n.Channel.IsZero() {
		c.SetChannelID(n.Channel)
	}
	if n.Unique == "" {
		return id, true, c.Exec(ctx)
	}
	err := c.SetUniqueKey(n.Unique).OnConflict(
		sql.ConflictColumns(job.FieldWorkspaceID, job.FieldKind, job.FieldUniqueKey),
		sql.ConflictWhere(sql.ExprP("finished_at IS NULL")), sql.DoNothing()).Exec(ctx)
	if err == nil {
		return id, true, nil
	}
	if !errors.Is(err, stdsql.ErrNoRows) {
		return gid.ID{}, false, err
	}
	id, err = tx.Job.Query().Where(job.WorkspaceID(n.Workspace), job.Kind(n.Kind), job.UniqueKey(n.Unique), job.FinishedAtIsNil()).OnlyID(ctx)
	return id, false, err
}

// Retry makes dead and discarded jobs ready again with all their attempts, and lets waiting ones run at once. It answers
// how many it changed; one whose unique key is in use by a newer job is left as it is.
func Retry(ctx context.Context, tx *ent.Tx, ids ...gid.ID) (int, error) {
	n := 0
	for _, id := range ordered(ids) {
		changed, err := tx.Job.Update().Where(job.ID(id), job.StateIn(job.StateReady, job.StateDead, job.StateDiscarded), keyFree).
			SetState(job.StateReady).SetRunAt(now()).SetAttempt(0).ClearFinishedAt().Save(ctx)
		if err != nil {
			return n, fmt.Errorf("retry job %s: %w", id, err)
		}
		n += changed
	}
	if n > 0 {
		store.Announce(ctx, bus.Note{Topic: bus.Jobs})
	}
	return n, nil
}

// keyFree holds where no other unfinished job has the unique key.
func keyFree(s *sql.Selector) {
	s.Where(sql.ExprP("NOT EXISTS (SELECT 1 FROM jobs o WHERE o.workspace_id = jobs.workspace_id AND o.kind = jobs.kind" +
		" AND o.unique_key = jobs.unique_key AND o.finished_at IS NULL AND o.id <> jobs.id)"))
}

// Discard ends jobs that nobody wants any more: ready and dead ones. It answers how many it changed; running ones are
// left alone.
func Discard(ctx context.Context, tx *ent.Tx, ids ...gid.ID) (int, error) {
	n, err := tx.Job.Update().Where(job.IDIn(ids...), job.StateIn(job.StateReady, job.StateDead)).
		SetState(job.StateDiscarded).SetFinishedAt(now()).Save(ctx)
	if err != nil {
		return 0, fmt.Errorf("discard jobs: %w", err)
	}
	if n > 0 {
		// The next of a group may be free now.
		store.Announce(ctx, bus.Note{Topic: bus.Jobs})
	}
	return n, nil
}

// Prune deletes jobs that were done or discarded longer ago than that, and answers how many. Dead ones stay: somebody
// has to look at them.
func Prune(ctx context.Context, s *store.Store, olderThan time.Duration) (int, error) {
	total := 0
	for _, state := range []job.State{job.StateDone, job.StateDiscarded} {
		n, err := s.Delete(ctx, "jobs", "state = $1 AND finished_at < $2", string(state), now().Add(-olderThan))
		total += n
		if err != nil {
			return total, fmt.Errorf("prune jobs: %w", err)
		}
	}
	return total, nil
}

func ordered(ids []gid.ID) []gid.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b gid.ID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// now is this node's time, as rows keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
