// Package migrate brings a database of package queue to the version that the
// program needs, from tables made by the guide's SQL or from nothing.
package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"wdpost/internal/attr"
)

// VersionTable names the table that records which migrations have run.
const VersionTable = "wdpost_schema_version"

// Plan is one database and its migrations.
type Plan struct {
	Dialect goose.Dialect
	DB      *sql.DB
	Files   fs.FS // the directory with the .sql files
	Log     *slog.Logger
}

// Up runs what has not run yet and returns the resulting version.
func (p Plan) Up(ctx context.Context) (int64, error) {
	return p.run(ctx, func(g *goose.Provider) error {
		results, err := g.Up(ctx)
		for _, r := range results {
			if r.Error == nil {
				p.Log.Info("database migrated", attr.SchemaVersion(r.Source.Version), attr.Took(r.Duration))
			}
		}
		return err
	})
}

// DownTo undoes migrations above the given version. Tasks are kept.
func (p Plan) DownTo(ctx context.Context, version int64) (int64, error) {
	return p.run(ctx, func(g *goose.Provider) error {
		_, err := g.DownTo(ctx, version)
		return err
	})
}

// Version returns the version of the database and the one the program needs.
func (p Plan) Version(ctx context.Context) (have, need int64, err error) {
	have, err = p.run(ctx, func(g *goose.Provider) error {
		sources := g.ListSources()
		need = sources[len(sources)-1].Version
		return nil
	})
	return have, need, err
}

// run opens the migrations, applies fn and returns the version afterwards.
func (p Plan) run(ctx context.Context, fn func(*goose.Provider) error) (int64, error) {
	store, err := database.NewStore(p.Dialect, VersionTable)
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	g, err := goose.NewProvider("", p.DB, p.Files, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	if err := fn(g); err != nil {
		return 0, fmt.Errorf("migrate the database: %w", err)
	}
	version, err := g.GetDBVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the database's version: %w", err)
	}
	return version, nil
}
