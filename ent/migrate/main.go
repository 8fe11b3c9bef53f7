//go:build ignore

// This program writes the difference between the ent schema and the migrations so far as one more goose file for each
// dialect:
//
//	go run -mod=mod ent/migrate/main.go NAME
//
// Until the first release there is one migration, and the name `init` makes it anew. PostgreSQL's side needs a server:
// MIGRATE_DATABASE_URL, by default the local one; in it a temporary database is made and dropped. Files are replaced
// only after both dialects have succeeded.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"time"

	atlas "ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/sqltool"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"tributary/ent/migrate"
)

const local = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: go run -mod=mod ent/migrate/main.go NAME")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name string) error {
	// The folder is found from the module's root or from here.
	root := "ent/migrate"
	if _, err := os.Stat(root); err != nil {
		root = "."
	}
	work, err := os.MkdirTemp(root, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, d := range []string{"sqlite", "postgres"} {
		if err := os.Mkdir(filepath.Join(work, d), 0o755); err != nil {
			return err
		}
		if name != "init" {
			if err := os.CopyFS(filepath.Join(work, d), os.DirFS(filepath.Join(root, d))); err != nil {
				return err
			}
		}
	}
	lite, err := sql.Open("sqlite", "file:dev?mode=memory&cache=shared&_pragma=foreign_keys(1)")
	if err != nil {
		return err
	}
	defer lite.Close()
	if err := diff(ctx, entsql.OpenDB(dialect.SQLite, lite), filepath.Join(work, "sqlite"), name); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	err = temporary(ctx, func(db *sql.DB) error {
		return diff(ctx, entsql.OpenDB(dialect.Postgres, db), filepath.Join(work, "postgres"), name)
	})
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	for _, d := range []string{"sqlite", "postgres"} {
		if err := os.RemoveAll(filepath.Join(root, d)); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(work, d), filepath.Join(root, d)); err != nil {
			return err
		}
	}
	return nil
}

func diff(ctx context.Context, drv dialect.Driver, folder, name string) error {
	dir, err := sqltool.NewGooseDir(folder)
	if err != nil {
		return err
	}
	m, err := schema.NewMigrate(drv, schema.WithDir(dir), schema.WithMigrationMode(schema.ModeReplay), schema.WithFormatter(sqltool.GooseFormatter),
		schema.WithDropColumn(true), schema.WithDropIndex(true), schema.WithErrNoPlan(true))
	if err != nil {
		return err
	}
	err = m.NamedDiff(ctx, name, migrate.Tables...)
	if errors.Is(err, atlas.ErrNoPlan) {
		log.Printf("%s: no difference", drv.Dialect())
		return nil
	}
	return err
}

// temporary gives a fresh database of the server and drops it afterwards.
func temporary(ctx context.Context, f func(*sql.DB) error) error {
	address := os.Getenv("MIGRATE_DATABASE_URL")
	if address == "" {
		address = local
	}
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("MIGRATE_DATABASE_URL is not an address")
	}
	admin, err := sql.Open("postgres", address)
	if err != nil {
		return err
	}
	defer admin.Close()
	name := fmt.Sprintf("tributary_migrate_%d", time.Now().UnixNano())
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return fmt.Errorf("make a temporary database (is MIGRATE_DATABASE_URL right?): %w", err)
	}
	defer admin.ExecContext(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	u.Path = "/" + name
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		return err
	}
	defer db.Close()
	return f(db)
}
