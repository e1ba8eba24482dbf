package postgres

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is the name of the channel on which replicas report changes.
const channel = "authmaterial_store"

const (
	firstDelay = 100 * time.Millisecond // the delay before the first attempt to connect again
	lastDelay  = 5 * time.Second        // the longest delay; each delay is twice the previous delay
	// If a connection has received no notification for aliveInterval, the replica checks whether
	// the server still answers. The server must answer within aliveTimeout.
	aliveInterval = 20 * time.Second
	aliveTimeout  = 5 * time.Second
)

// Notify implements store.Notifier.
func (d *driver) Notify(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "NOTIFY "+channel)
	return err
}

// Listen implements store.Notifier. Listen uses a separate connection.
func (d *driver) Listen(ctx context.Context, log *slog.Logger, changed func()) {
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		err := d.listenOnce(ctx, func() {
			delay = firstDelay
			changed()
		})
		if ctx.Err() != nil {
			return
		}
		if delay == firstDelay { // the first failure since the last success
			log.Warn("the database does not report changes for now: connecting again until it does", "error", err)
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
	}
}

// listenOnce opens a connection and listens for notifications. It calls the function `changed` once
// when it begins to listen, and then for each notification. It returns when the connection fails or
// the context ends.
func (d *driver) listenOnce(ctx context.Context, changed func()) error {
	conn, err := pgx.ConnectConfig(ctx, d.config)
	if err != nil {
		return connectError(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), aliveTimeout)
		defer cancel()
		_ = conn.Close(closing) // the connection may have failed already
	}()
	limited, cancel := context.WithTimeout(ctx, aliveTimeout)
	_, err = conn.Exec(limited, "LISTEN "+channel)
	cancel()
	for err == nil {
		changed()
		err = await(ctx, conn)
	}
	return err
}

// await waits for a notification, and checks from time to time whether the server still answers.
func await(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, aliveInterval)
		_, err := conn.WaitForNotification(waiting)
		timeout := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		if !timeout {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, aliveTimeout)
		err = conn.Ping(limited)
		cancel()
		if err != nil {
			return err
		}
	}
}
