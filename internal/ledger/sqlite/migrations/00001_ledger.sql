-- +goose Up
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    miner        INTEGER NOT NULL,
    period_start INTEGER NOT NULL, -- epoch
    deadline     INTEGER NOT NULL,
    open         INTEGER NOT NULL, -- epoch
    close        INTEGER NOT NULL, -- epoch
    closes_at    INTEGER NOT NULL, -- Unix milliseconds, like all *_at
    partitions   TEXT NOT NULL,    -- "0,1,2"; empty until they are known
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER,          -- NULL while the run goes on
    verdict      TEXT NOT NULL DEFAULT '',
    reason       TEXT NOT NULL DEFAULT '',
    proven       INTEGER NOT NULL DEFAULT 0,
    skipped      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (miner, period_start, deadline)
) STRICT;
CREATE INDEX runs_by_open ON runs (open);
CREATE INDEX runs_going_on ON runs (miner) WHERE ended_at IS NULL;

CREATE TABLE proofs (
    miner        INTEGER NOT NULL,
    period_start INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,
    partitions   TEXT NOT NULL,
    proof_type   INTEGER NOT NULL,
    randomness   BLOB NOT NULL,    -- 32 bytes
    sectors      TEXT NOT NULL,    -- ranges: "1-5,7"
    skipped      TEXT NOT NULL,
    proof        BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (miner, period_start, deadline, partitions)
) STRICT;

CREATE TABLE messages (
    id           TEXT PRIMARY KEY NOT NULL,
    miner        INTEGER NOT NULL,
    period_start INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    partitions   TEXT NOT NULL,
    sectors      TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    state        TEXT NOT NULL,
    handle       TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    exit_code    INTEGER NOT NULL,
    error        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_of_run ON messages (miner, period_start, deadline, created_at);

-- +goose Down
DROP TABLE messages;
DROP TABLE proofs;
DROP TABLE runs;
DROP TABLE meta;
