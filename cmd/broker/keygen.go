package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

func newKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Prints a new fleet key",
		Long: `Prints a new fleet key, and nothing else: 32 random bytes in base64, on one line. Brokers
that share tokens through Redis have it in token_cache.fleet_keys, each the same. It seals
the tokens there.

It is a secret: whoever has it, and reads Redis, has the tokens. Keep it where the other
secrets are, for example

  (umask 077; broker keygen > fleet-key)

To change it, restart the replicas three times, each time one after the other: with the keys
[old, new], then [new, old], and a day later [new]. No token is lost.`,
		Args: noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), fleetkeys.Generate())
			return err
		}),
	}
}
