package store

import (
	"context"
	"database/sql"
	"time"
)

const (
	// eventLimit is the largest number of events that the store keeps for one credential.
	eventLimit = 1000
	// destroyedLimit is the largest number of destroyed versions that the store keeps for one
	// credential.
	destroyedLimit = 100
)

// writer is one transaction that writes. Only one such transaction runs at a time, so data that a
// writer has read does not change before the transaction ends.
type writer struct {
	*Store

	ctx      context.Context // the context of the call that the writer serves
	tx       *sql.Tx
	now      time.Time
	revision int64
	// previousActive is the number of the active version before the change, or 0 for a new
	// credential.
	previousActive int
}

// exec executes a statement, and returns how many rows it changed.
func (w *writer) exec(statement string, parameters ...any) (int64, error) {
	result, err := w.tx.ExecContext(w.ctx, statement, parameters...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// execOne executes a statement that should change one row. If the statement changes no row, execOne
// returns the error `none`.
func (w *writer) execOne(none error, statement string, parameters ...any) error {
	changed, err := w.exec(statement, parameters...)
	if err == nil && changed == 0 {
		return none
	}
	return err
}

func (w *writer) insertRequest(r *Request) error {
	if r == nil {
		return nil
	}
	return w.execOne(ErrRepeated, `INSERT INTO requests (caller, method, credential_id, request_id, fingerprint, time)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		r.Caller, r.Method, r.CredentialID, r.RequestID, r.Fingerprint, instant{&w.now})
}

func (w *writer) putCredential(c Credential) error {
	if c.Revision == 0 {
		return w.execOne(ErrExists, `INSERT INTO credentials (id, display_name, description, labels, provider, auth_method, disabled, keep_warm,
			secret_expire_time, active_version, canary_version, canary_callers, create_time, update_time, delete_time, revision, sequence)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $15, $15) ON CONFLICT DO NOTHING`,
			c.ID, c.DisplayName, c.Description, document{c.Labels}, c.Provider, c.AuthMethod, c.Disabled, c.KeepWarm,
			instant{&c.SecretExpireTime}, c.ActiveVersion, c.CanaryVersion, document{c.CanaryCallers}, instant{&w.now},
			instant{&c.DeleteTime}, w.revision)
	}
	revision, active, err := w.state(c.ID)
	if err != nil {
		return err
	}
	if revision != c.Revision {
		return ErrChanged
	}
	w.previousActive = active
	return w.execOne(ErrNotFound, `UPDATE credentials SET display_name = $2, description = $3, labels = $4, disabled = $5, keep_warm = $6,
		secret_expire_time = $7, active_version = $8, canary_version = $9, canary_callers = $10, update_time = $11, delete_time = $12,
		revision = $13, sequence = $13 WHERE id = $1`,
		c.ID, c.DisplayName, c.Description, document{c.Labels}, c.Disabled, c.KeepWarm,
		instant{&c.SecretExpireTime}, c.ActiveVersion, c.CanaryVersion, document{c.CanaryCallers}, instant{&w.now}, instant{&c.DeleteTime},
		w.revision)
}

// insertVersion inserts a version, and deletes the oldest destroyed versions of the credential beyond
// destroyedLimit.
func (w *writer) insertVersion(c Credential, n *NewVersion) error {
	if n == nil {
		return nil
	}
	v, err := w.newVersion(c, n)
	if err != nil {
		return err
	}
	err = w.execOne(ErrChanged, `INSERT INTO versions (credential_id, number, id, allowed_hosts, public_values, secret_fields, create_time,
		activate_time, destroy_time, creator, verification, sealed, data_key, origin)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		v.CredentialID, v.Number, v.ID, document{v.AllowedHosts}, document{v.PublicValues}, document{v.SecretFields}, instant{&v.CreateTime},
		v.Creator, document{v.Verification}, v.Sealed, v.DataKey, w.originOf(c.ID, n.Values))
	if err != nil {
		return err
	}
	_, err = w.exec(`DELETE FROM versions WHERE credential_id = $1 AND destroy_time <> 0 AND number <=
		(SELECT number FROM versions WHERE credential_id = $1 AND destroy_time <> 0 ORDER BY number DESC LIMIT 1 OFFSET $2)`,
		c.ID, destroyedLimit)
	return err
}

func (w *writer) destroy(id string, number int) error {
	if number == 0 {
		return nil
	}
	err := w.execOne(ErrVersionNotFound, `UPDATE versions SET sealed = NULL, data_key = NULL, destroy_time = $3
		WHERE credential_id = $1 AND number = $2 AND destroy_time = 0`, id, number, instant{&w.now})
	if err != nil {
		return err
	}
	// Other versions may have the same first refresh token. If an earlier release stored such a version,
	// its origin is unknown, which is an empty text.
	_, err = w.exec(`DELETE FROM refresh_tokens WHERE credential_id = $1 AND
		origin IN (SELECT origin FROM versions WHERE credential_id = $1 AND destroy_time <> 0) AND NOT EXISTS
		(SELECT 1 FROM versions WHERE credential_id = $1 AND destroy_time = 0 AND origin IN (refresh_tokens.origin, ''))`, id)
	return err
}

// activate stores the current time as ActivateTime of the active version if the change made another
// version active.
func (w *writer) activate(c Credential) error {
	if c.ActiveVersion == w.previousActive {
		return nil
	}
	return w.execOne(ErrVersionNotFound, `UPDATE versions SET activate_time = $3 WHERE credential_id = $1 AND number = $2`,
		c.ID, c.ActiveVersion, instant{&w.now})
}

// checkVersions checks that the active version and the canary exist and are not destroyed.
func (w *writer) checkVersions(c Credential) error {
	want, found := 1, 0
	if c.CanaryVersion != 0 {
		want = 2
	}
	err := w.tx.QueryRowContext(w.ctx, `SELECT count(*) FROM versions WHERE credential_id = $1 AND number IN ($2, $3) AND destroy_time = 0`,
		c.ID, c.ActiveVersion, c.CanaryVersion).Scan(&found)
	if err == nil && found != want {
		return ErrVersionNotFound
	}
	return err
}

func (w *writer) verify(event *Event, verification *Verification) error {
	err := w.execOne(ErrVersionNotFound, `UPDATE versions SET verification = $3 WHERE credential_id = $1 AND number = $2`,
		event.CredentialID, event.Version, document{verification})
	if err != nil {
		return err
	}
	_, err = w.exec(`UPDATE credentials SET sequence = $2 WHERE id = $1`, event.CredentialID, w.revision)
	return err
}

// insertEvent inserts an event, and deletes the oldest events of the credential beyond eventLimit.
func (w *writer) insertEvent(id string, event *Event) error {
	_, err := w.exec(`INSERT INTO events (number, credential_id, time, document) VALUES ($1, $2, $3, $4)`,
		w.revision, id, instant{&w.now}, document{event})
	if err != nil {
		return err
	}
	_, err = w.exec(`DELETE FROM events WHERE credential_id = $1 AND number <=
		(SELECT number FROM events WHERE credential_id = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)`, id, eventLimit)
	return err
}
