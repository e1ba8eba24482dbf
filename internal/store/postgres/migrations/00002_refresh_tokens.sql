-- +goose Up

-- The current refresh token of each chain: see the Go type RefreshToken. lease_end is a time of the
-- database's clock.
CREATE TABLE refresh_tokens (
	credential_id TEXT    NOT NULL,
	chain         TEXT    NOT NULL,
	-- A keyed digest of the first refresh token.
	origin        TEXT    NOT NULL,
	sequence      BIGINT  NOT NULL,
	sealed        BYTEA   NOT NULL,
	-- Whether the refresh token may have been used.
	attempted     BOOLEAN NOT NULL,
	-- Each lease of the chain has a higher fence than the one before.
	fence         BIGINT  NOT NULL,
	lease_end     BIGINT  NOT NULL,
	update_time   BIGINT  NOT NULL,
	PRIMARY KEY (credential_id, chain)
);

-- The origin of the chains that begin with a value of the version, or an empty text.
ALTER TABLE versions ADD COLUMN origin TEXT NOT NULL DEFAULT '';
