package sqlite

import (
	"strings"

	"wdpost/internal/queue/internal/schema"
)

// tables is how SQLite says what the schema needs. Triggers let rows of tasks be
// put in, changed and deleted by hand as the guide's table would.
var tables = schema.Dialect{
	Objects:     `SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')`,
	Columns:     `SELECT name FROM pragma_table_info(?)`,
	Indexes:     `SELECT name FROM pragma_index_list(?)`,
	Ignore:      `INSERT OR IGNORE`,
	DropIndex:   `DROP INDEX %[1]s /* of %[2]s */`,
	ViewsFollow: true,
	Listing: `CREATE VIEW tasks_view AS
SELECT id,
    in_body,
    datetime(created_at, 'unixepoch', 'localtime') AS created_at,
    datetime(started_at, 'unixepoch', 'localtime') AS started_at,
    datetime(finished_at, 'unixepoch', 'localtime') AS finished_at,
    retry_count,
    error_reason,
    out_body,
    slave,
    datetime(heartbeat_at, 'unixepoch', 'localtime') AS heartbeat_at
    FROM tasks`,
	Triggers: []string{
		`CREATE TRIGGER tasks_insert INSTEAD OF INSERT ON tasks BEGIN
			INSERT INTO wdpost_tasks (id, in_body, created_at, started_at, finished_at, retry_count, error_reason, out_body, slave, heartbeat_at)
			VALUES (NEW.id, NEW.in_body, NEW.created_at, NEW.started_at, NEW.finished_at, COALESCE(NEW.retry_count, 0), NEW.error_reason,
				NEW.out_body, NEW.slave, NEW.heartbeat_at); END`,
		`CREATE TRIGGER tasks_update INSTEAD OF UPDATE ON tasks BEGIN UPDATE wdpost_tasks SET ` + changed + ` WHERE id = OLD.id; END`,
		`CREATE TRIGGER tasks_delete INSTEAD OF DELETE ON tasks BEGIN DELETE FROM wdpost_tasks WHERE id = OLD.id; END`,
	},
}

// changed sets the columns of a row that was changed through the view.
var changed = func() string {
	var out []string
	for _, c := range []string{"created_at", "started_at", "finished_at", "retry_count", "error_reason", "out_body", "slave", "heartbeat_at"} {
		out = append(out, c+" = NEW."+c)
	}
	return strings.Join(out, ", ")
}()
