package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/store"
)

func newBackup() *cobra.Command {
	f := &storeFlags{}
	command := &cobra.Command{
		Use:   "backup FILE {--config FILE | --data DIR}",
		Short: "Writes the credential store to an encrypted file",
		Long: `Writes all managed credentials, their versions and events, and all refresh tokens, to a new file,
encrypted with the first store key. Brokers may serve meanwhile: the backup has one state of the store.

A provider may replace a refresh token at each use. After such a use, the backup has the old one, which
the provider no longer accepts.

The backup does not contain the store key. Keep a copy of the key at another place: without it, the
backup cannot be restored.`,
		Example: `  broker backup credentials-2027-01-31.backup --config broker.yaml`,
		Args:    backupArgs,
		RunE: explained(func(command *cobra.Command, args []string) error {
			err := f.use(command, false, func(ctx context.Context, opened *store.Store) error { return backup(ctx, opened, args[0]) })
			if err == nil {
				_, err = fmt.Fprintf(command.OutOrStdout(), "%s: complete\n", args[0])
			}
			return err
		}),
	}
	f.addFlags(command)
	return command
}

func backupArgs(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return misused("the name of one backup file is needed")
	}
	return nil
}

// backup writes a new file, which it removes if the backup fails.
func backup(ctx context.Context, opened *store.Store, path string) error {
	file, err := createNew(path, 0o600)
	if err != nil {
		return err
	}
	err = opened.Backup(ctx, file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

func newRestore() *cobra.Command {
	f := &storeFlags{}
	command := &cobra.Command{
		Use:   "restore FILE {--config FILE | --data DIR}",
		Short: "Restores a backup into an empty credential store",
		Long: `Restores a backup into a database that has no credentials yet, and that may be of another kind
than the original. The store keys must include the key that encrypted the backup. Either all or
nothing is restored. Stop the brokers that use the database before, and start them afterwards.

The command lists the credentials with a refresh token that each use replaces. If such a token was used
after the backup, the credential needs a new one: obtain it, and rotate the credential.`,
		Example: `  broker restore credentials-2027-01-31.backup --config broker.yaml`,
		Args:    backupArgs,
		RunE: explained(func(command *cobra.Command, args []string) error {
			return f.restore(command, args[0])
		}),
	}
	f.addFlags(command)
	return command
}

func (f *storeFlags) restore(command *cobra.Command, path string) (err error) {
	file, err := os.Open(path) //nolint:gosec // opening this path is safe, because the user of the command chooses it
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // an error of Close does not matter, because the file was only read
	set, err := f.load()
	if err != nil {
		return err
	}
	options := store.Options{Keys: set.Keys, Logger: newLogger(command.ErrOrStderr(), "warn", "text")}
	header, err := store.CheckBackup(options, file) // before OpenDriver, which creates a database file
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		return err
	}
	driver, err := server.OpenDriver(set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	if err := store.Restore(command.Context(), driver, options, file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = fmt.Fprintf(command.OutOrStdout(), "restored the store %s as it was on %s\n", header.StoreID, header.Time.Format(time.RFC3339))
	if err != nil {
		return err
	}
	return warnOfUsedTokens(command, driver, options)
}

// warnOfUsedTokens lists the credentials whose restored refresh tokens may have been used.
func warnOfUsedTokens(command *cobra.Command, driver store.Driver, options store.Options) error {
	opened, err := store.Open(command.Context(), driver, options)
	if err != nil {
		return err
	}
	report, err := opened.Check(command.Context())
	if err != nil || len(report.Rotating) == 0 {
		return err
	}
	out := newScreen(command.OutOrStdout())
	fmt.Fprintf(out, "%d credentials have a refresh token that each use replaces: %s:\n", len(report.Rotating), usedSince)
	for _, id := range report.Rotating {
		fmt.Fprintln(out, printable(id))
	}
	return nil
}
