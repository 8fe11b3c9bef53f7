package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"entgo.io/ent/dialect"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"tributary/ent/migrate"
)

// Migration is one step of the schema.
type Migration struct {
	Version int64
	Name    string
	Applied bool
	At      time.Time // when it was applied
}

// Migrate brings the schema up to date. Nodes that start together wait for each other: one applies, the others find
// nothing to do. A database that is newer than the program is refused.
func (s *Store) Migrate(ctx context.Context) error {
	p, err := s.provider(true)
	if err != nil {
		return err
	}
	// SQLite has no lock that lives longer than a transaction. Each file is one transaction, so whoever comes second
	// fails as a whole, finds the file applied, and goes on.
	for try := 0; ; try++ {
		if _, err = p.Up(ctx); err == nil {
			break
		}
		if s.Dialect != dialect.SQLite || try == 5 || ctx.Err() != nil {
			return fmt.Errorf("migrate the database: %w", err)
		}
	}
	now, newest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the database: %w", err)
	}
	if now > newest {
		return fmt.Errorf("the database is newer than this program (%d, known up to %d): start the newer program", now, newest)
	}
	return nil
}

// MigrationStatus lists all steps in order, applied or not. It makes goose's own table when that is missing.
func (s *Store) MigrationStatus(ctx context.Context) ([]Migration, error) {
	p, err := s.provider(false)
	if err != nil {
		return nil, err
	}
	all, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state of migrations: %w", err)
	}
	out := make([]Migration, 0, len(all))
	for _, m := range all {
		out = append(out, Migration{m.Source.Version, m.Source.Path, m.State == goose.StateApplied, m.AppliedAt.UTC()})
	}
	return out, nil
}

func (s *Store) provider(locked bool) (*goose.Provider, error) {
	name, d := "sqlite", goose.DialectSQLite3
	var opts []goose.ProviderOption
	if s.Dialect == dialect.Postgres {
		name, d = "postgres", goose.DialectPostgres
		if locked {
			// goose looks every five seconds by default, and each further node would wait for that.
			l, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
			if err != nil {
				return nil, fmt.Errorf("make the lock of migrations: %w", err)
			}
			opts = append(opts, goose.WithSessionLocker(l))
		}
	}
	files, err := fs.Sub(migrate.Files, name)
	if err != nil {
		return nil, fmt.Errorf("open the migrations: %w", err)
	}
	p, err := goose.NewProvider(d, s.DB, files, opts...)
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil, errors.New("this program was built without migrations")
	}
	if err != nil {
		return nil, fmt.Errorf("open the migrations: %w", err)
	}
	return p, nil
}
