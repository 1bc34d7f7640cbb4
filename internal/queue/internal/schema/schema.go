package schema

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"wdpost/internal/attr"
)

// Dialect is what differs between the databases.
type Dialect struct {
	// Objects lists name and kind, "table" or "view", of what is there.
	Objects string
	// Columns lists the names of the columns of a table, its argument.
	Columns string
	// Indexes lists the names of the indexes of a table, its argument.
	Indexes string
	// Options end each CREATE TABLE.
	Options string
	// Listing is the guide's tasks_view.
	Listing string
	// Triggers let rows be changed through the view tasks, where a database
	// needs them for that.
	Triggers []string
	// ViewsFollow says that a view is changed when its table gets another name,
	// so that it must be away meanwhile.
	ViewsFollow bool
	// Ignore is INSERT that leaves out rows whose key is there.
	Ignore string
	// DropIndex is the statement that drops the index %[1]s of the table %[2]s.
	DropIndex string
}

// Tables are the tables of one database.
type Tables struct {
	DB      *sql.DB
	Dialect Dialect
	Log     *slog.Logger
}

// found is what is there.
type found struct {
	objects map[string]string // name to "table" or "view"
	columns map[string][]string
	indexes map[string][]string
}

// inspect looks what is there.
func (t Tables) inspect(ctx context.Context) (found, error) {
	f := found{objects: map[string]string{}, columns: map[string][]string{}, indexes: map[string][]string{}}
	rows, err := t.DB.QueryContext(ctx, t.Dialect.Objects)
	if err != nil {
		return f, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			return f, err
		}
		f.objects[strings.ToLower(name)] = strings.ToLower(kind)
	}
	if err := rows.Err(); err != nil {
		return f, err
	}
	_ = rows.Close() // read to its end
	for _, want := range append(slices.Clone(tables), table{name: guide}) {
		if f.objects[want.name] != "table" {
			continue
		}
		if f.columns[want.name], err = t.strings(ctx, t.Dialect.Columns, want.name); err != nil {
			return f, err
		}
		if f.indexes[want.name], err = t.strings(ctx, t.Dialect.Indexes, want.name); err != nil {
			return f, err
		}
	}
	return f, nil
}

// strings reads a column of names.
func (t Tables) strings(ctx context.Context, query, table string) ([]string, error) {
	rows, err := t.DB.QueryContext(ctx, query, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, strings.ToLower(v))
	}
	return out, rows.Err()
}

// Missing returns the statements that must run, in order; none: all is there.
// Each is whole in itself, so that a death between two of them costs nothing,
// and adds or drops one thing, as some databases ask for.
func (t Tables) Missing(ctx context.Context) ([]string, error) {
	f, err := t.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the tables: %w", err)
	}
	return t.plan(f), nil
}

// plan compares what is there with what must be.
func (t Tables) plan(f found) []string {
	var out []string
	do := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t.Dialect.ViewsFollow && f.objects[guide] == "table" && f.objects[listing] == "view" {
		do(`DROP VIEW %s`, listing)
		f.objects[listing] = ""
	}
	switch {
	case f.objects[guide] == "table" && f.objects[Tasks] == "":
		do(`ALTER TABLE %s RENAME TO %s`, guide, Tasks)
		f.objects[Tasks], f.objects[guide] = "table", ""
		f.columns[Tasks], f.indexes[Tasks] = f.columns[guide], f.indexes[guide]
	case f.objects[guide] == "table": // made anew by the guide's SQL
		columns := strings.Join(guideColumns, ", ")
		do(`%s INTO %s (%s) SELECT %s FROM %s`, t.Dialect.Ignore, Tasks, columns, columns, guide)
		do(`DROP TABLE %s`, guide)
		f.objects[guide] = ""
	}
	for _, want := range tables {
		t.planTable(f, want, do)
	}
	if slices.Contains(f.indexes[Tasks], "tasks_claim") {
		do(t.Dialect.DropIndex, "tasks_claim", Tasks)
	}
	if f.objects[guide] == "" {
		do(`%s`, tasksView())
		for _, trigger := range t.Dialect.Triggers {
			do(`%s`, trigger)
		}
	}
	if f.objects[listing] == "" {
		do(`%s`, t.Dialect.Listing)
	}
	return out
}

// planTable makes one table whole.
func (t Tables) planTable(f found, want table, do func(string, ...any)) {
	if f.objects[want.name] == "" {
		defs := make([]string, len(want.columns))
		for i, c := range want.columns {
			defs[i] = c.Name + " " + c.Type
		}
		do(`CREATE TABLE %s (%s)%s`, want.name, strings.Join(defs, ", "), t.Dialect.Options)
	} else {
		for _, c := range want.columns {
			if !slices.Contains(f.columns[want.name], c.Name) {
				do(`ALTER TABLE %s ADD COLUMN %s %s`, want.name, c.Name, c.Type)
			}
		}
	}
	for name, columns := range want.indexes {
		if !slices.Contains(f.indexes[want.name], name) {
			do(`CREATE INDEX %s ON %s (%s)`, name, want.name, columns)
		}
	}
}

// Mend runs what is missing.
func (t Tables) Mend(ctx context.Context) error {
	statements, err := t.Missing(ctx)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := t.DB.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("migrate the database: %.60s …: %w", s, err)
		}
	}
	if len(statements) > 0 {
		t.Log.Info("tables of the database made", attr.Count(len(statements)))
	}
	return nil
}

// Undo goes back to the tables of the version before: the question in tasks.
func (t Tables) Undo(ctx context.Context) error {
	f, err := t.inspect(ctx)
	if err != nil {
		return fmt.Errorf("look at the tables: %w", err)
	}
	if f.objects[Tasks] == "" {
		return nil // there never was more
	}
	for _, s := range t.undo(f) {
		if _, err := t.DB.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("undo the migration: %.60s …: %w", s, err)
		}
	}
	return nil
}

// undo is the inverse of plan, as far as the version before needs it.
func (t Tables) undo(f found) []string {
	var out []string
	do := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if f.objects[listing] == "view" {
		do(`DROP VIEW %s`, listing)
	}
	if f.objects[guide] == "view" {
		do(`DROP VIEW %s`, guide)
	}
	if f.objects[Bodies] != "" {
		do(`UPDATE %s SET in_body = COALESCE((SELECT b.in_body FROM %s b WHERE b.id = %s.id), '') WHERE LENGTH(in_body) = 0`, Tasks, Bodies, Tasks)
		do(`DROP TABLE %s`, Bodies)
	}
	if slices.Contains(f.indexes[Tasks], claims) {
		do(t.Dialect.DropIndex, claims, Tasks)
	}
	drop := func(table string, columns ...Column) {
		for _, c := range columns {
			if slices.Contains(f.columns[table], c.Name) {
				do(`ALTER TABLE %s DROP COLUMN %s`, table, c.Name)
			}
		}
	}
	late := State[slices.IndexFunc(State, func(c Column) bool { return c.Name == "advanced_at" }):]
	drop(Tasks, late...)
	drop(Archive, slices.Concat(late, About)...)
	drop("slaves", Column{Name: "id"}, Column{Name: "report"}, Column{Name: "failures"})
	do(`ALTER TABLE %s RENAME TO %s`, Tasks, guide)
	do(`CREATE INDEX tasks_claim ON tasks (finished_at, started_at, not_after, created_at, id)`)
	if f.objects["wdpost_clock"] != "" {
		do(`DROP TABLE wdpost_clock`)
	}
	do(`%s`, t.Dialect.Listing)
	return out
}
