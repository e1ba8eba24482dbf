package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/authentication"
)

// callerName matches the valid names of callers in the section authentication.tokens.
var callerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`)

func newTokenNew() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "new [NAME]",
		Short: "Prints a new static token and its hash",
		Long: `Prints a new static token, its hash, and with a name the item for authentication.tokens of
the configuration. With --token-file the token is written to a new file, which only its
owner can read, and is not printed.

The token is a secret: give it to the caller, which sends it with each call as

  authorization: Bearer TOKEN

It has 256 random bits. It cannot be computed from the hash, which is not a secret. The
configuration has only the hash, so only the caller needs to store the token.

To change a token, add the hash of a new one under the same name, give the caller the new
token, and then remove the old hash: from then on the old token is rejected.`,
		Args: func(command *cobra.Command, args []string) error {
			if len(args) > 0 && !callerName.MatchString(args[0]) {
				return errors.New("the name must be 1 to 64 lower-case letters, digits, '.', '_' and '-', " +
					"with a letter or digit at each end")
			}
			return cobra.MaximumNArgs(1)(command, args)
		},
		RunE: explained(func(command *cobra.Command, args []string) error {
			token := authentication.GenerateToken()
			hash := authentication.HashToken(token)
			text := fmt.Sprintf("sha256: %s\n", hash)
			if len(args) > 0 {
				text += fmt.Sprintf("item:   {name: %q, sha256: \"%s\"}\n", args[0], hash)
			}
			if file == "" {
				text = fmt.Sprintf("token:  %s\n%s", token.Reveal(), text)
			} else if err := writeNew(file, token.Reveal()+"\n", 0o600); err != nil {
				return err
			}
			_, err := fmt.Fprint(command.OutOrStdout(), text)
			return err
		}),
	}
	command.Flags().StringVar(&file, "token-file", "", "write the token to this new `FILE`, and do not print it")
	must(command.MarkFlagFilename("token-file"))
	return command
}

// writeNew writes a file that must not exist.
func writeNew(path, text string, mode os.FileMode) error {
	file, err := createNew(path, mode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// createNew creates a file that must not exist.
func createNew(path string, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // opening this path is safe, because the user of the command chooses it
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, errExists(path)
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be created: %w: name a file in an existing folder in which you may create files", printable(path), errors.Unwrap(err))
	}
	return file, nil
}

func errExists(path string) error {
	return fmt.Errorf("%s: exists, and is not overwritten: remove it, or name another file", printable(path))
}
