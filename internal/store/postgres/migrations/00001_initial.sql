-- +goose Up

-- The columns are documented at the Go types of package store. Times are microseconds since 1970;
-- 0 stands for no time. Lists and maps are JSON.

CREATE TABLE store (
	id          INTEGER PRIMARY KEY CHECK (id = 1),
	store_id    TEXT    NOT NULL,
	revision    BIGINT  NOT NULL,
	request_key BYTEA   NOT NULL
);

CREATE TABLE credentials (
	id                 TEXT    PRIMARY KEY,
	display_name       TEXT    NOT NULL,
	description        TEXT    NOT NULL,
	labels             TEXT    NOT NULL,
	provider           TEXT    NOT NULL,
	auth_method        TEXT    NOT NULL,
	disabled           BOOLEAN NOT NULL,
	keep_warm          BOOLEAN NOT NULL,
	secret_expire_time BIGINT  NOT NULL,
	active_version     INTEGER NOT NULL,
	canary_version     INTEGER NOT NULL,
	canary_callers     TEXT    NOT NULL,
	create_time        BIGINT  NOT NULL,
	update_time        BIGINT  NOT NULL,
	delete_time        BIGINT  NOT NULL,
	revision           BIGINT  NOT NULL,
	-- The revision of the last change that replicas must read, which includes verifications and
	-- new data keys.
	sequence           BIGINT  NOT NULL
);
CREATE INDEX credentials_sequence ON credentials (sequence);

CREATE TABLE versions (
	credential_id TEXT    NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
	number        INTEGER NOT NULL,
	id            TEXT    NOT NULL,
	allowed_hosts TEXT    NOT NULL,
	public_values TEXT    NOT NULL,
	secret_fields TEXT    NOT NULL,
	create_time   BIGINT  NOT NULL,
	activate_time BIGINT  NOT NULL,
	destroy_time  BIGINT  NOT NULL,
	creator       TEXT    NOT NULL,
	verification  TEXT    NOT NULL,
	sealed        BYTEA,
	data_key      BYTEA,
	PRIMARY KEY (credential_id, number)
);

CREATE TABLE events (
	number        BIGINT PRIMARY KEY,
	credential_id TEXT   NOT NULL,
	time          BIGINT NOT NULL,
	document      TEXT   NOT NULL
);
CREATE INDEX events_credential ON events (credential_id, number);

CREATE TABLE requests (
	caller        TEXT   NOT NULL,
	method        TEXT   NOT NULL,
	credential_id TEXT   NOT NULL,
	request_id    TEXT   NOT NULL,
	fingerprint   BYTEA  NOT NULL,
	time          BIGINT NOT NULL,
	PRIMARY KEY (caller, method, credential_id, request_id)
);
CREATE INDEX requests_time ON requests (time);

CREATE TABLE uses (
	credential_id TEXT    NOT NULL,
	caller        TEXT    NOT NULL,
	version       INTEGER NOT NULL,
	minute        BIGINT  NOT NULL,
	count         BIGINT  NOT NULL,
	PRIMARY KEY (credential_id, caller, version)
);
