package mysql

import "wdpost/internal/queue/internal/schema"

// tables is how MySQL says what the schema needs. MariaDB lets rows be changed and
// deleted through the view tasks. MySQL and TiDB do not (MySQL refuses it for a view
// with a dependent subquery): there that is done in wdpost_tasks.
var tables = schema.Dialect{
	Objects: `SELECT table_name, CASE WHEN table_type LIKE '%VIEW' THEN 'view' ELSE 'table' END
		FROM information_schema.tables WHERE table_schema = DATABASE()`,
	Columns:   `SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?`,
	Indexes:   `SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ?`,
	Options:   ` ENGINE = InnoDB CHARACTER SET = utf8mb4 COLLATE = utf8mb4_general_ci`,
	Ignore:    `INSERT IGNORE`,
	DropIndex: `DROP INDEX %[1]s ON %[2]s`,
	Listing: `CREATE VIEW tasks_view AS
SELECT id,
    in_body,
    FROM_UNIXTIME(created_at, '%Y-%m-%d %H:%i:%s') AS created_at,
    FROM_UNIXTIME(started_at, '%Y-%m-%d %H:%i:%s') AS started_at,
    FROM_UNIXTIME(finished_at, '%Y-%m-%d %H:%i:%s') AS finished_at,
    retry_count,
    error_reason,
    out_body,
    slave,
    FROM_UNIXTIME(heartbeat_at, '%Y-%m-%d %H:%i:%s') AS heartbeat_at
    FROM tasks`,
}
