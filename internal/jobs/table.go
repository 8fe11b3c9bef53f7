package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"entgo.io/ent/dialect"

	"tributary/internal/gid"
	"tributary/internal/store"
)

// claimBatch is how many jobs one statement claims at most.
const claimBatch = 50

// clock writes times into SQL. On PostgreSQL they are the server's, so that nodes with other clocks agree on leases.
type clock struct {
	dialect string
	now     func() time.Time
}

// at is the SQL of the time after d. statement_timestamp is stable, so an index serves a comparison with it.
func (c clock) at(d time.Duration) string {
	if c.dialect == dialect.Postgres && c.now == nil {
		return fmt.Sprintf("(statement_timestamp() + interval '%d microseconds')", d.Microseconds())
	}
	literal := "'" + c.local().Add(d).UTC().Truncate(time.Microsecond).Format(timeFormat) + "'"
	if c.dialect == dialect.Postgres {
		return literal + "::timestamptz"
	}
	return literal
}

// timeFormat is the driver's for `_time_format=sqlite`; in UTC it sorts as text.
const timeFormat = "2006-01-02 15:04:05.999999999-07:00"

func (c clock) local() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}

// moment reads a time from either dialect: a RETURNING clause of SQLite has lost the column's type.
type moment struct{ time.Time }

// Scan reads a time or the text of one.
func (m *moment) Scan(v any) (err error) {
	switch v := v.(type) {
	case time.Time:
		m.Time = v.UTC()
	case string:
		m.Time, err = time.Parse(timeFormat, v)
	case []byte:
		m.Time, err = time.Parse(timeFormat, string(v))
	default:
		err = fmt.Errorf("a time of type %T", v)
	}
	return err
}

// head is true for a job that no other of its group holds up.
const head = `(j.group_key = '' OR NOT EXISTS (SELECT 1 FROM jobs o WHERE o.workspace_id = j.workspace_id AND o.group_key = j.group_key AND o.state = 'running')
 AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.workspace_id = j.workspace_id AND o.group_key = j.group_key AND o.state = 'ready' AND o.id < j.id))`

// claim takes due jobs of the kinds that have free places, as many as those, and starts them. more says that the batch
// was full.
func (r *Runner) claim(ctx, base context.Context) (more bool, err error) {
	query, args, free := r.claimSQL()
	if query == "" {
		return false, nil
	}
	began := time.Now()
	claims, err := r.take(ctx, query, args)
	// Two runners saw a group's head before the other's was there; the index let one through. The next look sees it.
	for try := 0; store.Unique(err) && try < 5; try++ {
		claims, err = r.take(ctx, query, args)
	}
	if err != nil {
		return false, fmt.Errorf("claim jobs: %w", err)
	}
	for _, c := range claims {
		free[c.Kind]--
	}
	// Before any of them can end: who ends in a full kind asks for the next look.
	for name, left := range free {
		r.kinds[name].full.Store(left <= 0)
	}
	for _, c := range claims {
		k := r.kinds[c.Kind]
		if k.options.MaxAttempts > 0 {
			c.MaxAttempts = min(c.MaxAttempts, k.options.MaxAttempts)
		}
		c.began, c.until = began, began.Add(r.config.Lease)
		r.start(base, k, c)
	}
	return len(claims) == claimBatch, nil
}

// claimSQL is the one statement of a claim: each kind brings as many due heads as it has places.
func (r *Runner) claimSQL() (query string, args []any, free map[string]int) {
	var with, union strings.Builder
	args, free = []any{r.holder}, map[string]int{}
	lock := ""
	if r.store.Dialect == dialect.Postgres {
		lock = " FOR UPDATE OF j SKIP LOCKED"
	}
	for _, name := range r.names {
		k := r.kinds[name]
		// Full until the claim says otherwise, or one that ends meanwhile would wake nobody.
		k.full.Store(true)
		places := min(k.options.Concurrency-int(k.running.Load()), claimBatch)
		if places <= 0 {
			continue
		}
		i := len(free)
		free[name] = places
		args = append(args, name)
		if i > 0 {
			with.WriteString(",\n")
			union.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&with, "k%d AS (SELECT j.id, j.run_at FROM jobs j WHERE j.kind = $%d AND j.state = 'ready' AND j.run_at <= %s AND %s ORDER BY j.run_at, j.id LIMIT %d%s)",
			i, len(args), r.clock.at(0), head, places, lock)
		fmt.Fprintf(&union, "SELECT id, run_at FROM k%d", i)
	}
	if len(free) == 0 {
		return "", nil, nil
	}
	return r.store.SQL(fmt.Sprintf(`WITH %s
UPDATE jobs SET state = 'running', attempt = attempt + 1, holder = $1, lease_until = %s
WHERE id IN (SELECT id FROM (%s) due ORDER BY run_at, id LIMIT %d)
RETURNING id, workspace_id, kind, group_key, args, attempt, max_attempts, subject_id, channel_id, run_at, created_at`,
		with.String(), r.clock.at(r.config.Lease), union.String(), claimBatch)), args, free
}

func (r *Runner) take(ctx context.Context, query string, args []any) (out []*Claim, err error) {
	rows, err := r.store.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c := &Claim{holder: r.holder}
		var subject, channel sql.Null[gid.ID]
		var runAt, createdAt moment
		var args []byte
		if err := rows.Scan(&c.ID, &c.Workspace, &c.Kind, &c.Group, &args, &c.Attempt, &c.MaxAttempts, &subject, &channel, &runAt, &createdAt); err != nil {
			return nil, err
		}
		c.Args, c.Subject, c.Channel, c.RunAt, c.CreatedAt = args, subject.V, channel.V, runAt.Time, createdAt.Time
		out = append(out, c)
	}
	return out, rows.Err()
}

// never is longer than any poll.
const never = time.Hour

// lookBack is how far nextDue looks for heads that became due after the claim had looked.
const lookBack = 2 * time.Second

// nextDue is how long until the next job of a kind with a free place has its time. Jobs that are due and held up by their
// group do not count: what frees them wakes us.
func (r *Runner) nextDue(ctx context.Context) (time.Duration, error) {
	var parts []string
	var args []any
	for _, name := range r.names {
		if k := r.kinds[name]; int(k.running.Load()) < k.options.Concurrency {
			args = append(args, name)
			parts = append(parts, fmt.Sprintf("SELECT * FROM (SELECT j.run_at FROM jobs j WHERE j.kind = $%d AND j.state = 'ready' AND j.run_at > %s AND (j.run_at > %s OR %s) ORDER BY j.run_at LIMIT 1) k%d",
				len(args), r.clock.at(-lookBack), r.clock.at(0), head, len(args)))
		}
	}
	if len(parts) == 0 {
		return never, nil
	}
	due := "min(run_at), min(run_at)"
	if r.store.Dialect == dialect.Postgres {
		due = "min(run_at), " + r.clock.at(0)
	}
	var at, server sql.Null[moment]
	err := r.store.DB.QueryRowContext(ctx, r.store.SQL("SELECT "+due+" FROM ("+strings.Join(parts, " UNION ALL ")+") due"), args...).Scan(&at, &server)
	if err != nil {
		return 0, fmt.Errorf("find the next due job: %w", err)
	}
	if !at.Valid {
		return never, nil
	}
	from := r.clock.local()
	if r.store.Dialect == dialect.Postgres {
		from = server.V.Time
	}
	// Not at once: what is due may just be in another runner's hands.
	return max(at.V.Sub(from), 2*time.Millisecond), nil
}
