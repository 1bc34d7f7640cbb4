-- The tables and the view of the operator's guide in SQLite's words. Down
-- keeps them: they hold the tasks.

-- +goose Up
CREATE TABLE IF NOT EXISTS tasks (
    id CHAR(32) PRIMARY KEY NOT NULL,
    in_body LONGBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT DEFAULT NULL,
    finished_at BIGINT DEFAULT NULL,
    retry_count SMALLINT NOT NULL DEFAULT 0,
    error_reason TEXT DEFAULT NULL,
    out_body LONGBLOB DEFAULT NULL,
    slave VARCHAR(100) DEFAULT NULL,
    heartbeat_at BIGINT DEFAULT NULL
);

CREATE TABLE IF NOT EXISTS tasks_archived (
    id CHAR(32) PRIMARY KEY NOT NULL,
    in_body LONGBLOB NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT DEFAULT NULL,
    finished_at BIGINT DEFAULT NULL,
    retry_count SMALLINT NOT NULL DEFAULT 0,
    error_reason TEXT DEFAULT NULL,
    out_body LONGBLOB DEFAULT NULL,
    slave VARCHAR(100) DEFAULT NULL,
    heartbeat_at BIGINT DEFAULT NULL
);

CREATE VIEW IF NOT EXISTS tasks_view AS
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
    FROM tasks;

-- +goose Down
