package postgres

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// connector opens connections to the database. The errors of connector contain neither the user nor
// the password.
type connector struct{ sqldriver.Connector }

func (c connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, connectError(err)
	}
	return conn, nil
}

// `unreachable` is the error of a connection that could not be opened.
type unreachable struct {
	text  string
	cause error
}

func (u *unreachable) Error() string { return u.text }
func (u *unreachable) Unwrap() error { return u.cause }

// connectError removes the user and the name of the database from an error.
func connectError(err error) error {
	var answered *pgconn.PgError
	var failed *pgconn.ConnectError
	switch {
	case errors.As(err, &answered) && strings.HasPrefix(answered.Code, "28"):
		return &unreachable{fmt.Sprintf("the database rejects this user, password, address or encryption (SQLSTATE %s)", answered.Code), err}
	case errors.As(err, &answered):
		return &unreachable{fmt.Sprintf("the database rejects the connection: %s (SQLSTATE %s)", answered.Message, answered.Code), err}
	case errors.As(err, &failed):
		return &unreachable{fmt.Sprintf("connect to the database: %v", failed.Unwrap()), err}
	}
	return &unreachable{"connect to the database: " + err.Error(), err}
}

// `permanent` lists the first characters of the SQLSTATE codes of permanent errors, for which another
// attempt does not help. Such errors are wrong data, violated constraints, wrong SQL, and a schema
// of another application.
var permanent = []string{"22", "23", "42", "0A"}

// Unavailable implements store.Driver.
func (d *driver) Unavailable(err error) bool {
	var answered *pgconn.PgError
	var refused *unreachable
	var network net.Error
	switch {
	case errors.As(err, &refused):
		return true
	case errors.As(err, &answered):
		for _, class := range permanent {
			if strings.HasPrefix(answered.Code, class) {
				return false
			}
		}
		return true
	}
	return errors.As(err, &network) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, sqldriver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone)
}
