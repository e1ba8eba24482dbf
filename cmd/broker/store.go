package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/store"
)

// storeFlags name the credential store that a command opens.
type storeFlags struct{ config, data string }

func (f *storeFlags) addFlags(command *cobra.Command) {
	addConfigFlag(command, &f.config, "the configuration file with the section 'store'")
	command.Flags().StringVar(&f.data, "data", "", "the `DIR` that 'broker serve --data' uses")
	must(command.MarkFlagDirname("data"))
	command.MarkFlagsOneRequired("config", "data")
	command.MarkFlagsMutuallyExclusive("config", "data")
}

// load returns the configuration of the store.
func (f *storeFlags) load() (*config.Store, error) {
	if f.data == "" {
		loaded, err := config.Load(f.config, config.Options{})
		if err == nil && loaded.Store == nil {
			err = fmt.Errorf("%s has no section 'store'", f.config)
		}
		if err != nil {
			return nil, err
		}
		return loaded.Store, nil
	}
	if _, err := os.Stat(filepath.Join(f.data, dataStoreKey)); err != nil {
		return nil, fmt.Errorf("the folder has no credential store and key: %w", err)
	}
	folder, err := openDataFolder(f.data, "127.0.0.1:0", "off")
	if err != nil {
		return nil, err
	}
	loaded, err := folder.load()
	if err != nil {
		return nil, err
	}
	return loaded.Store, nil
}

// use opens the store, which must exist unless `create` is true, and passes it to a function.
func (f *storeFlags) use(command *cobra.Command, create bool, run func(context.Context, *store.Store) error) (err error) {
	set, err := f.load()
	if err != nil {
		return err
	}
	if _, err := os.Stat(set.SQLitePath); set.SQLitePath != "" && !create && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the database %s does not exist", set.SQLitePath)
	}
	driver, err := server.OpenDriver(set)
	if err != nil {
		return err
	}
	ctx, options := command.Context(), store.Options{Keys: set.Keys, Logger: newLogger(command.ErrOrStderr(), "warn", "text")}
	opened, err := store.Open(ctx, driver, options)
	if err != nil {
		_ = driver.Close()
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	return run(ctx, opened)
}

func newStoreRekey() *cobra.Command {
	f := &storeFlags{}
	command := &cobra.Command{
		Use:   "rekey {--config FILE | --data DIR}",
		Short: "Encrypts the data keys with the first store key",
		Long: `Encrypts the data key of each version and each refresh token again, with the first of the store keys. Brokers may
serve meanwhile. To replace a store key:

  1. Make a key with 'broker keygen', and add it to store.keys after the present key.
  2. Restart all brokers, one after the other.
  3. Put the new key first, restart all brokers again, and run this command.
  4. Remove the old key. Keep it as long as you keep backups that it encrypted.`,
		Example: `  broker store rekey --config broker.yaml`,
		Args:    noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			return f.use(command, false, func(ctx context.Context, opened *store.Store) error {
				rewritten, err := opened.Rekey(ctx)
				if err != nil {
					return fmt.Errorf("encryption with the first store key stopped after %d data keys and refresh tokens: %w", rewritten, err)
				}
				_, err = fmt.Fprintf(command.OutOrStdout(), "encrypted again with the first store key: %d data keys and refresh tokens\n", rewritten)
				return err
			})
		}),
	}
	f.addFlags(command)
	return command
}

func newStoreMigrate() *cobra.Command {
	f := &storeFlags{}
	command := &cobra.Command{
		Use:   "migrate {--config FILE | --data DIR}",
		Short: "Creates or updates the tables of the store",
		Long: `Creates the tables of the store, or updates them for this release. A broker does the same when it
starts. Brokers of the previous release can serve meanwhile and afterwards.`,
		Example: `  broker store migrate --config broker.yaml`,
		Args:    noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			return f.use(command, true, func(context.Context, *store.Store) error {
				_, err := fmt.Fprintln(command.OutOrStdout(), "the tables of the store are up to date")
				return err
			})
		}),
	}
	f.addFlags(command)
	return command
}

func newStoreCheck() *cobra.Command {
	f := &storeFlags{}
	command := &cobra.Command{
		Use:   "check {--config FILE | --data DIR}",
		Short: "Decrypts all versions, and reports those that cannot be used",
		Long: `Decrypts the values of all versions and all refresh tokens, and reports those that cannot be used. No
value is printed. The command cannot find out whether the provider still accepts a refresh token.

Exit status: 0 if all versions and refresh tokens can be used, otherwise 1.`,
		Example: `  broker store check --config broker.yaml`,
		Args:    noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			return f.use(command, false, func(ctx context.Context, opened *store.Store) error {
				return checkStore(ctx, opened, newScreen(command.OutOrStdout()))
			})
		}),
	}
	f.addFlags(command)
	return command
}

// usedSince is what people must know about the refresh tokens in a backup.
const usedSince = "in a restored backup it may have been used since, and then the credential needs a new one"

func checkStore(ctx context.Context, opened *store.Store, out *screen) error {
	report, err := opened.Check(ctx)
	if err != nil {
		return err
	}
	var list rows
	list.add("store", opened.ID())
	list.add("credentials", fmt.Sprint(report.Credentials))
	list.add("versions", fmt.Sprintf("%d, of which %d are destroyed", report.Versions, report.Destroyed))
	if n := len(report.Rotating); n > 0 {
		list.add("refresh tokens", fmt.Sprintf("%d credentials have a refresh token that each use replaces: %s", n, usedSince))
	}
	if report.Outdated > 0 {
		list.add("older key", fmt.Sprintf("%d versions or refresh tokens have an older key: run 'broker store rekey'", report.Outdated))
	}
	out.printRows("", list)
	for _, problem := range report.Problems {
		what := "refresh token"
		if problem.Version != 0 {
			what = fmt.Sprintf("version %d", problem.Version)
		}
		fmt.Fprintf(out, "%s, %s: %s\n", printable(problem.CredentialID), what, printable(problem.Err.Error()))
	}
	if n := len(report.Problems); n > 0 {
		return fmt.Errorf("%d versions or refresh tokens cannot be used", n)
	}
	return nil
}
