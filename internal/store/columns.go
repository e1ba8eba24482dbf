package store

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"
)

// document is a column that contains JSON.
type document struct{ value any }

// Value implements driver.Valuer.
func (d document) Value() (driver.Value, error) {
	data, err := json.Marshal(d.value)
	return string(data), err
}

// Scan implements sql.Scanner.
func (d document) Scan(column any) error {
	text, ok := column.(string)
	if !ok {
		return fmt.Errorf("a column with JSON has the type %T", column)
	}
	return json.Unmarshal([]byte(text), d.value)
}

// instant is a column that contains a time, in microseconds since 1970. The zero time is 0.
type instant struct{ *time.Time }

// Value implements driver.Valuer.
func (i instant) Value() (driver.Value, error) {
	if i.IsZero() {
		return int64(0), nil
	}
	return i.UnixMicro(), nil
}

// Scan implements sql.Scanner.
func (i instant) Scan(column any) error {
	micros, ok := column.(int64)
	if !ok {
		return fmt.Errorf("a column with a time has the type %T", column)
	}
	*i.Time = time.Time{}
	if micros != 0 {
		*i.Time = time.UnixMicro(micros).UTC()
	}
	return nil
}

// columnsC lists the columns of a credential c, and columnsV lists the columns of a version v,
// which are its metadata and its encrypted values. The methods `columns` and `metadata` return
// pointers to the fields in the same order.
const (
	columnsC = `c.id, c.display_name, c.description, c.labels, c.provider, c.auth_method, c.disabled, c.keep_warm,
		c.secret_expire_time, c.active_version, c.canary_version, c.canary_callers, c.create_time, c.update_time, c.delete_time, c.revision`
	metadataV = `v.credential_id, v.number, v.id, v.allowed_hosts, v.public_values, v.secret_fields, v.create_time,
		v.activate_time, v.destroy_time, v.creator, v.verification`
	columnsV = metadataV + `, v.sealed, v.data_key`
)

func (c *Credential) columns() []any {
	return []any{
		&c.ID, &c.DisplayName, &c.Description, document{&c.Labels}, &c.Provider, &c.AuthMethod, &c.Disabled, &c.KeepWarm,
		instant{&c.SecretExpireTime}, &c.ActiveVersion, &c.CanaryVersion, document{&c.CanaryCallers},
		instant{&c.CreateTime}, instant{&c.UpdateTime}, instant{&c.DeleteTime}, &c.Revision,
	}
}

func (v *Version) columns() []any { return append(v.metadata(), &v.Sealed, &v.DataKey) }

func (v *Version) metadata() []any {
	return []any{
		&v.CredentialID, &v.Number, &v.ID, document{&v.AllowedHosts}, document{&v.PublicValues}, document{&v.SecretFields},
		instant{&v.CreateTime}, instant{&v.ActivateTime}, instant{&v.DestroyTime}, &v.Creator, document{&v.Verification},
	}
}
