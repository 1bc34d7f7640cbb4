-- When an answer that left sectors out becomes final, though another slave was
-- asked for a better one.

-- +goose Up
ALTER TABLE tasks ADD COLUMN settle_at BIGINT DEFAULT NULL;
ALTER TABLE tasks_archived ADD COLUMN settle_at BIGINT DEFAULT NULL;

-- +goose Down
ALTER TABLE tasks DROP COLUMN settle_at;
ALTER TABLE tasks_archived DROP COLUMN settle_at;
