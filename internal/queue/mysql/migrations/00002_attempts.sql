-- Attempt numbers, deadlines and verdicts. Every column has a default, so rows
-- written with the guide's columns alone stay valid. One change a statement where
-- one needs the other: TiDB cannot do both at once.

-- +goose Up
ALTER TABLE tasks
    ADD COLUMN attempt INT NOT NULL DEFAULT 0,
    ADD COLUMN not_after BIGINT NOT NULL DEFAULT 9223372036854775807,
    ADD COLUMN ready_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN sector_size BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN verdict VARCHAR(16) DEFAULT NULL,
    ADD COLUMN progress VARCHAR(100) DEFAULT NULL;
ALTER TABLE tasks ADD INDEX tasks_claim (finished_at, started_at, not_after, created_at, id);

ALTER TABLE tasks_archived
    ADD COLUMN attempt INT NOT NULL DEFAULT 0,
    ADD COLUMN not_after BIGINT NOT NULL DEFAULT 9223372036854775807,
    ADD COLUMN ready_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN sector_size BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN verdict VARCHAR(16) DEFAULT NULL,
    ADD COLUMN progress VARCHAR(100) DEFAULT NULL;
ALTER TABLE tasks_archived ADD INDEX tasks_archived_created (created_at);

-- +goose Down
ALTER TABLE tasks DROP INDEX tasks_claim;
ALTER TABLE tasks
    DROP COLUMN attempt,
    DROP COLUMN not_after,
    DROP COLUMN ready_at,
    DROP COLUMN sector_size,
    DROP COLUMN verdict,
    DROP COLUMN progress;

ALTER TABLE tasks_archived DROP INDEX tasks_archived_created;
ALTER TABLE tasks_archived
    DROP COLUMN attempt,
    DROP COLUMN not_after,
    DROP COLUMN ready_at,
    DROP COLUMN sector_size,
    DROP COLUMN verdict,
    DROP COLUMN progress;
