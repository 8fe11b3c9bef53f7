package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
	"modernc.org/sqlite"

	"tributary/ent"
	"tributary/internal/bus"
)

// ErrNested is the answer to a transaction inside a transaction.
var ErrNested = errors.New("a transaction was begun inside a transaction: pass the tx on instead")

// ErrBeside is the answer to a statement on the store's client inside a transaction: SQLite has one connection, and the
// statement would wait for its own transaction.
var ErrBeside = errors.New("a statement was sent beside the transaction of its context: use the tx")

// tries is how often a transaction runs at most when the database took it back.
const tries = 6

// Conn runs raw SQL.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// txState is the transaction of a context.
type txState struct {
	store *Store
	raw   Conn
	done  atomic.Bool

	mu     sync.Mutex
	commit []func()
}

type (
	txKey    struct{}
	beginKey struct{}
)

// current is the transaction that surrounds the context, nil if there is none or it has ended.
func current(ctx context.Context) *txState {
	t, _ := ctx.Value(txKey{}).(*txState)
	if t == nil || t.done.Load() {
		return nil
	}
	return t
}

// Tx runs f in a transaction: it commits when f returns nil and rolls back on an error or a panic. Where the database
// took the transaction back (deadlock, serialization failure, a busy file), f runs again, up to five times more: f must
// have no effect but its rows, and must build its results anew each time. Inside f use the given context and tx alone;
// ErrNested and ErrBeside say what was mixed up.
//
// An error of the commit itself leaves open whether it happened, as with every database.
func (s *Store) Tx(ctx context.Context, f func(ctx context.Context, tx *ent.Tx) error) error {
	if t := current(ctx); t != nil && t.store == s {
		return ErrNested
	}
	for try := 1; ; try++ {
		t, err := s.attempt(ctx, f)
		if err == nil {
			for _, hook := range t.commit {
				hook()
			}
			return nil
		}
		if try == tries || !Again(err) || ctx.Err() != nil {
			return err
		}
		// Those who met do not meet again at the same moment.
		pause := time.Duration(1<<try)*2*time.Millisecond + rand.N(10*time.Millisecond)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (s *Store) attempt(ctx context.Context, f func(context.Context, *ent.Tx) error) (_ *txState, err error) {
	t := &txState{store: s}
	// Whatever happens, a context that outlives the transaction is free again.
	defer t.done.Store(true)
	tx, err := s.Ent.Tx(context.WithValue(ctx, beginKey{}, t))
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = tx.Rollback()
		}
	}()
	if err := f(context.WithValue(ctx, txKey{}, t), tx); err != nil {
		return nil, err
	}
	ended = true
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		return nil, fmt.Errorf("commit: %w", err)
	}
	return t, nil
}

// OnCommit registers a function that runs once after the commit of the surrounding transaction, in the order of
// registration, and never if that rolls back. Without a surrounding transaction it runs at once.
func OnCommit(ctx context.Context, f func()) {
	t := current(ctx)
	if t == nil {
		f()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.commit = append(t.commit, f)
}

// Announce puts the notes on the bus after the commit of the surrounding transaction. Without one of Store.Tx there is
// no bus to be found and the pollers will see the rows.
func Announce(ctx context.Context, notes ...bus.Note) {
	t := current(ctx)
	if t == nil {
		return
	}
	OnCommit(ctx, func() {
		for _, n := range notes {
			t.store.Bus.Announce(n)
		}
	})
}

// Raw is the surrounding transaction for raw SQL, nil if there is none. Its statements are not counted.
func Raw(ctx context.Context) Conn {
	if t := current(ctx); t != nil {
		return t.raw
	}
	return nil
}

// Unique reports whether a unique index refused the statement.
func Unique(err error) bool {
	var p *pq.Error
	if errors.As(err, &p) {
		return p.Code == "23505"
	}
	var l *sqlite.Error
	if errors.As(err, &l) {
		const unique, primary = 2067, 1555 // SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY
		return l.Code() == unique || l.Code() == primary
	}
	return false
}

// Again reports whether the database undid the transaction for a reason that another try may not meet; Tx tries again by
// itself.
func Again(err error) bool {
	var p *pq.Error
	if errors.As(err, &p) {
		return p.Code == "40P01" || p.Code == "40001"
	}
	var l *sqlite.Error
	if errors.As(err, &l) {
		const busy = 5 // SQLITE_BUSY; the upper bits hold its varieties
		return l.Code()&0xff == busy
	}
	return false
}
