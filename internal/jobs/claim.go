package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"tributary/ent"
	"tributary/ent/job"
	"tributary/internal/gid"
)

// Claim is a job in a handler's hands, for as long as its lease is kept.
type Claim struct {
	ID          gid.ID
	Workspace   gid.ID
	Kind        string
	Group       string
	Args        json.RawMessage
	Attempt     int // this one, from 1
	MaxAttempts int
	Subject     gid.ID // zero if there is none
	Channel     gid.ID // zero if there is none
	RunAt       time.Time
	CreatedAt   time.Time

	holder string
	began  time.Time
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	lost     bool      // the lease is gone
	ended    bool      // the handler has returned
	until    time.Time // local: the lease is kept at least until then
	tried    bool      // Complete was called
	complete bool      // and its transaction was committed
}

// Decode reads the arguments. An error is permanent: the same bytes will not read better next time.
func (c *Claim) Decode(v any) error {
	if err := json.Unmarshal(c.Args, v); err != nil {
		return Permanent(fmt.Errorf("read the arguments of %s: %w", c.ID, err))
	}
	return nil
}

// Last reports whether no further attempt follows this one.
func (c *Claim) Last() bool { return c.Attempt >= c.MaxAttempts }

// Complete marks the job done inside the transaction that holds its effect, so that both happen or neither. ErrLost:
// somebody else may hold the job now; return it, so that the transaction rolls back. It is one statement; call it late,
// it locks the job's row.
func (c *Claim) Complete(ctx context.Context, tx *ent.Tx) error {
	c.mu.Lock()
	over := c.lost || c.ended
	c.tried = true
	c.mu.Unlock()
	if over {
		return ErrLost
	}
	n, err := tx.Job.Update().
		Where(job.ID(c.ID), job.StateEQ(job.StateRunning), job.Attempt(c.Attempt), job.Holder(c.holder)).
		SetState(job.StateDone).SetFinishedAt(now()).ClearLeaseUntil().Save(ctx)
	if err != nil {
		return fmt.Errorf("complete job %s: %w", c.ID, err)
	}
	if n == 0 {
		return ErrLost
	}
	tx.OnCommit(func(next ent.Committer) ent.Committer {
		return ent.CommitFunc(func(ctx context.Context, tx *ent.Tx) error {
			err := next.Commit(ctx, tx)
			if err == nil {
				c.mu.Lock()
				c.complete = true
				c.mu.Unlock()
			}
			return err
		})
	})
	return nil
}

// lose takes the claim away from its handler.
func (c *Claim) lose() {
	c.mu.Lock()
	c.lost = true
	c.mu.Unlock()
	c.cancel(ErrLost)
}

// finish ends the handler's time. A goroutine that it left behind completes nothing any more: after a snooze the next
// claim may have the same attempt number, and the row alone could not tell them apart.
func (c *Claim) finish() (lost, tried, complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return c.lost, c.tried, c.complete
}

func (c *Claim) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Holds returns ErrLost unless the job is still this claim's. It changes nothing: Complete is what ends it.
func (c *Claim) Holds(ctx context.Context, tx *ent.Tx) error {
	ok, err := tx.Job.Query().Where(job.ID(c.ID), job.StateEQ(job.StateRunning), job.Attempt(c.Attempt), job.Holder(c.holder)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("check job %s: %w", c.ID, err)
	}
	if !ok || c.over() {
		return ErrLost
	}
	return nil
}

// over reports whether the claim may do no more.
func (c *Claim) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost || c.ended
}
