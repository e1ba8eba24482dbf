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
that share tokens through Redis all have the same key in token_cache.fleet_keys. The tokens in
Redis are encrypted with it.

The key is a secret: with it, anybody who can read Redis can read the tokens. Store the key
with your other secrets, for example

  (umask 077; broker keygen > fleet-key)

To change the key, restart the replicas three times, each time one after the other: with the
keys [old, new], then [new, old], and a day later [new]. No token is lost.`,
		Args: noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), fleetkeys.Generate())
			return err
		}),
	}
}
