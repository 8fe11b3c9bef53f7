package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
)

// Counter counts the statements of ent under a context, for tests that hold an operation to its budget. It is safe for
// concurrent use.
type Counter struct {
	mu         sync.Mutex
	statements []string
	outer      *Counter
}

type counterKey struct{}

// Count makes a context whose statements are counted, those inside transactions too; begin, commit and raw SQL on DB
// are not. Counters nest: the outer one counts as well.
func Count(ctx context.Context) (context.Context, *Counter) {
	c := &Counter{}
	c.outer, _ = ctx.Value(counterKey{}).(*Counter)
	return context.WithValue(ctx, counterKey{}, c), c
}

// N is how many statements ran so far.
func (c *Counter) N() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.statements)
}

// Statements are the texts so far, in order.
func (c *Counter) Statements() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.statements...)
}

func (c *Counter) add(query string) {
	for ; c != nil; c = c.outer {
		c.mu.Lock()
		c.statements = append(c.statements, query)
		c.mu.Unlock()
	}
}

// driver stands between ent and the database: it counts, traces, and refuses a statement beside a transaction.
type driver struct {
	dialect.Driver
	store    *Store
	trace    func(context.Context, string)
	prepared *prepared // nil on SQLite
}

func (d *driver) seen(ctx context.Context, query string) {
	if c, ok := ctx.Value(counterKey{}).(*Counter); ok {
		c.add(query)
	}
	if d.trace != nil {
		d.trace(ctx, query)
	}
}

// free refuses what would wait for the transaction of its own context.
func (d *driver) free(ctx context.Context, what string) error {
	if t := current(ctx); t != nil && t.store == d.store {
		return fmt.Errorf("%w: %s", ErrBeside, what)
	}
	return nil
}

func (d *driver) Query(ctx context.Context, query string, args, v any) error {
	if err := d.free(ctx, query); err != nil {
		return err
	}
	d.seen(ctx, query)
	return d.Driver.Query(ctx, query, args, v)
}

func (d *driver) Exec(ctx context.Context, query string, args, v any) error {
	if err := d.free(ctx, query); err != nil {
		return err
	}
	d.seen(ctx, query)
	return d.Driver.Exec(ctx, query, args, v)
}

func (d *driver) Tx(ctx context.Context) (dialect.Tx, error) { return d.BeginTx(ctx, nil) }

// BeginTx is what ent's client looks for when it is given options.
func (d *driver) BeginTx(ctx context.Context, o *sql.TxOptions) (dialect.Tx, error) {
	t, _ := ctx.Value(beginKey{}).(*txState)
	if t == nil {
		if err := d.free(ctx, "begin"); err != nil {
			return nil, err
		}
	}
	begun, err := d.store.DB.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	if t != nil {
		t.raw = begun
	}
	var conn entsql.ExecQuerier = begun
	if d.prepared != nil {
		conn = preparedTx{begun, d.prepared}
	}
	// NewDriver alone can name the dialect of a Conn.
	return &transaction{&entsql.Tx{Conn: entsql.NewDriver(d.store.Dialect, entsql.Conn{ExecQuerier: conn}).Conn, Tx: begun}, d}, nil
}

type transaction struct {
	dialect.Tx
	driver *driver
}

func (t *transaction) Query(ctx context.Context, query string, args, v any) error {
	t.driver.seen(ctx, query)
	return t.Tx.Query(ctx, query, args, v)
}

func (t *transaction) Exec(ctx context.Context, query string, args, v any) error {
	t.driver.seen(ctx, query)
	return t.Tx.Exec(ctx, query, args, v)
}
