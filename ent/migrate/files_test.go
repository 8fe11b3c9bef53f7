package migrate_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	atlas "ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/sqltool"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"tributary/ent/migrate"
	"tributary/internal/testdb"
)

// The files, replayed on an empty database, give what the schema says: whoever changes the schema writes a migration.
func TestMigrationsGiveTheSchema(t *testing.T) {
	t.Parallel()
	// One dialect after the other: ent writes into the tables it is given, which both share.
	testdb.Each(t, func(t *testing.T, url string) {
		name, driver, d := "sqlite", "sqlite", dialect.SQLite
		if strings.HasPrefix(url, "postgres") {
			name, driver, d = "postgres", "postgres", dialect.Postgres
		}
		db, err := sql.Open(driver, url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS(name)); err != nil {
			t.Fatal(err)
		}
		dir, err := sqltool.NewGooseDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		m, err := schema.NewMigrate(entsql.OpenDB(d, db), schema.WithDir(dir), schema.WithMigrationMode(schema.ModeReplay),
			schema.WithFormatter(sqltool.GooseFormatter), schema.WithDropColumn(true), schema.WithDropIndex(true), schema.WithErrNoPlan(true))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := filepath.Glob(filepath.Join(folder, "*.sql"))
		if err = m.NamedDiff(t.Context(), "missing", migrate.Tables...); errors.Is(err, atlas.ErrNoPlan) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		after, _ := filepath.Glob(filepath.Join(folder, "*.sql"))
		for _, file := range after[len(before):] {
			text, _ := os.ReadFile(file)
			t.Errorf("the migrations differ from the schema; run `go run -mod=mod ent/migrate/main.go NAME`. Missing:\n%s", text)
		}
	})
}

func TestBothDialectsAreEmbedded(t *testing.T) {
	t.Parallel()
	lite, _ := fs.Glob(migrate.Files, "sqlite/*.sql")
	server, _ := fs.Glob(migrate.Files, "postgres/*.sql")
	if len(lite) == 0 || len(lite) != len(server) {
		t.Errorf("%d files for SQLite, %d for PostgreSQL", len(lite), len(server))
	}
}
