package store

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	preparedMax  = 500  // statements that are kept prepared; each costs a little memory on every connection
	preparedUses = 3    // a text that comes so often is worth it
	preparedText = 4096 // bytes; longer ones are lists of many values and differ each time
	seenMax      = 4000 // texts that are counted
)

// prepared keeps the statements that come again and again prepared on the server: lib/pq spends two round trips on a
// statement with parameters that is not. SQLite prepares in the process and gains nothing.
type prepared struct {
	db   *sql.DB
	wg   sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context //nolint:containedctx // the life of what is prepared in the background
	mu   sync.RWMutex
	by   map[string]*statement
}

type statement struct {
	uses int
	stmt *sql.Stmt // nil until it is ready
	busy bool      // being prepared, or refused by the server
}

func newPrepared(db *sql.DB) *prepared {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // ends with the store
	return &prepared{db: db, ctx: ctx, stop: stop, by: map[string]*statement{}}
}

// close ends what is being prepared and waits for it.
func (p *prepared) close() {
	p.stop()
	p.mu.Lock()
	p.mu.Unlock() //nolint:staticcheck // nobody begins after this
	p.wg.Wait()
}

// get is the prepared form of a text, nil if there is none yet. It never waits: preparing takes a connection, and who
// asks may hold the last one.
func (p *prepared) get(query string) *sql.Stmt {
	if len(query) > preparedText {
		return nil
	}
	p.mu.RLock()
	s := p.by[query]
	ready := s != nil && s.stmt != nil
	p.mu.RUnlock()
	if ready {
		return s.stmt
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s = p.by[query]; s == nil {
		if len(p.by) >= seenMax {
			p.forget()
		}
		s = &statement{}
		p.by[query] = s
	}
	if s.uses++; s.uses >= preparedUses && !s.busy && s.stmt == nil && p.ctx.Err() == nil && p.ready() < preparedMax {
		s.busy = true
		p.wg.Go(func() { p.prepare(query, s) })
	}
	return s.stmt
}

func (p *prepared) prepare(query string, s *statement) {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	st, err := p.db.PrepareContext(ctx, query)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil { // else it stays as it is: sent with its text
		s.stmt = st
	}
}

// ready counts what is prepared or about to be. Called with the lock.
func (p *prepared) ready() (n int) {
	for _, s := range p.by {
		if s.busy {
			n++
		}
	}
	return n
}

// forget drops the texts that are not prepared. Called with the lock.
func (p *prepared) forget() {
	for q, s := range p.by {
		if !s.busy {
			delete(p.by, q)
		}
	}
}

// preparedDB is the pool, by prepared statements where there are some.
type preparedDB struct {
	*sql.DB
	p *prepared
}

// ExecContext runs a statement.
func (d preparedDB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if st := d.p.get(query); st != nil {
		return st.ExecContext(ctx, args...)
	}
	return d.DB.ExecContext(ctx, query, args...)
}

// QueryContext runs a query.
func (d preparedDB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if st := d.p.get(query); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return d.DB.QueryContext(ctx, query, args...)
}

// preparedTx is a transaction, by prepared statements where there are some: they are prepared on its own connection.
type preparedTx struct {
	*sql.Tx
	p *prepared
}

// ExecContext runs a statement.
func (t preparedTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if st := t.p.get(query); st != nil {
		return t.Tx.StmtContext(ctx, st).ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, query, args...)
}

// QueryContext runs a query.
func (t preparedTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if st := t.p.get(query); st != nil {
		return t.Tx.StmtContext(ctx, st).QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, query, args...)
}
