-- Attempt numbers, deadlines and verdicts. Every column has a default, so rows
-- written with the guide's columns alone stay valid.

-- +goose Up
ALTER TABLE tasks ADD COLUMN attempt INT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN not_after BIGINT NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE tasks ADD COLUMN ready_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN sector_size BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN verdict VARCHAR(16) DEFAULT NULL;
ALTER TABLE tasks ADD COLUMN progress VARCHAR(100) DEFAULT NULL;
ALTER TABLE tasks_archived ADD COLUMN attempt INT NOT NULL DEFAULT 0;
ALTER TABLE tasks_archived ADD COLUMN not_after BIGINT NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE tasks_archived ADD COLUMN ready_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks_archived ADD COLUMN sector_size BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks_archived ADD COLUMN verdict VARCHAR(16) DEFAULT NULL;
ALTER TABLE tasks_archived ADD COLUMN progress VARCHAR(100) DEFAULT NULL;
CREATE INDEX tasks_claim ON tasks (finished_at, started_at, not_after, created_at, id);
CREATE INDEX tasks_archived_created ON tasks_archived (created_at);

-- +goose Down
DROP INDEX tasks_claim;
DROP INDEX tasks_archived_created;
ALTER TABLE tasks DROP COLUMN attempt;
ALTER TABLE tasks DROP COLUMN not_after;
ALTER TABLE tasks DROP COLUMN ready_at;
ALTER TABLE tasks DROP COLUMN sector_size;
ALTER TABLE tasks DROP COLUMN verdict;
ALTER TABLE tasks DROP COLUMN progress;
ALTER TABLE tasks_archived DROP COLUMN attempt;
ALTER TABLE tasks_archived DROP COLUMN not_after;
ALTER TABLE tasks_archived DROP COLUMN ready_at;
ALTER TABLE tasks_archived DROP COLUMN sector_size;
ALTER TABLE tasks_archived DROP COLUMN verdict;
ALTER TABLE tasks_archived DROP COLUMN progress;
