-- The slaves that masters have seen, for "slaves list" and "slaves drain".

-- +goose Up
CREATE TABLE slaves (
    name VARCHAR(100) PRIMARY KEY NOT NULL,
    version VARCHAR(100) NOT NULL,
    address VARCHAR(100) NOT NULL,
    concurrent INT NOT NULL DEFAULT 0,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    draining BOOLEAN NOT NULL DEFAULT FALSE
);

-- +goose Down
DROP TABLE slaves;
