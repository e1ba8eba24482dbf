package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

const (
	// consoleCredentials is the number of stored credentials, unless the flag -stored has less.
	consoleCredentials = 10_000
	consoleCallers     = 10 // the callers of each credential
	pageRounds         = 20
	openPages          = 50
	// pageGoal is the longest time for a page, and visitGoal the number of bytes of a first visit, that
	// the project promises.
	pageGoal  = 100 * time.Millisecond
	visitGoal = 150_000
)

// consolePages are the measured pages, by title.
var consolePages = []struct{ title, path string }{
	{"/credentials", "/credentials"},
	{"… the second page", ""}, // the path is a link on the first page
	{"… a search without a match", "/credentials?search=none&provider=pendo&label=team%3Dnone"},
	{"/credentials/ID", "/credentials/" + storedKey},
	{"/credentials/ID/rotate", "/credentials/" + storedKey + "/rotate"},
	{"/credentials/ID/edit", "/credentials/" + storedKey + "/edit"},
	{"/credentials/ID/access", "/credentials/" + storedKey + "/access?caller=uid:1"},
	{"/add", "/add"},
	{"/add/PROVIDER/METHOD", "/add/pendo/api_key"},
	{"/providers", "/providers"},
	{"/providers/PROVIDER", "/providers/pendo"},
	{"/fleet", "/fleet"},
}

// measureConsole prints the cost of the console's pages, with credentials in SQLite and in PostgreSQL.
func measureConsole(ctx context.Context, chosen options, out io.Writer) error {
	credentials := min(chosen.stored[0], consoleCredentials)
	fmt.Fprintf(out, `
The pages of the console, with %d stored credentials that %d callers use each: the time until a
client has received the page, in %d rounds (goals: every page within %d ms; the first visit, which is
the list of credentials with its assets, transfers less than %d kB, without compression)
`, credentials, consoleCallers, pageRounds, pageGoal.Milliseconds(), visitGoal/1000)
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	if err := measurePages(ctx, "SQLite", "sqlite://"+filepath.Join(folder, "console.db"), credentials, out); err != nil {
		return err
	}
	if _, err := postgrestest.Find(); err != nil {
		fmt.Fprintf(out, "\nNOT MEASURED: PostgreSQL. %v\n", err)
		return nil
	}
	return with(ctx, rolePostgres, task{Credentials: 1}, func(server postgresServer) error {
		return measurePages(ctx, "PostgreSQL", server.URLs[0], credentials, out)
	})
}

func measurePages(ctx context.Context, kind, url string, credentials int, out io.Writer) (err error) {
	filled, err := fill(ctx, kind, url, credentials)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, filled.driver.Close()) }()
	if err := filled.addUses(ctx); err != nil {
		return err
	}
	return with(ctx, roleBroker, task{Store: url, StoreKey: filled.key, Console: true}, func(at endpoint) error {
		v := newVisitor(at)
		if err := v.signIn(ctx); err != nil {
			return err
		}
		if err := v.visitAll(ctx, kind, out); err != nil {
			return err
		}
		if err := v.visitFirst(ctx, kind, out); err != nil {
			return err
		}
		return v.keepOpen(ctx, filled, out)
	})
}

// addUses stores that every credential has consoleCallers callers.
func (d *database) addUses(ctx context.Context) error {
	_, err := d.driver.Writer().ExecContext(ctx, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
		INSERT INTO uses (credential_id, caller, version, minute, count)
		SELECT id, 'spiffe://bench.test/caller/' || CAST(n.i AS TEXT), 1, create_time / 60000000 * 60000000, 100 FROM credentials, n`, consoleCallers)
	if err == nil {
		_, err = d.driver.Writer().ExecContext(ctx, `ANALYZE`) // PostgreSQL does this itself after a while
	}
	return err
}

// visitAll prints the time and the size of each page.
func (v *visitor) visitAll(ctx context.Context, kind string, out io.Writer) error {
	next, err := v.nextPage(ctx)
	if err != nil {
		return err
	}
	for _, page := range consolePages {
		path := page.path
		if path == "" {
			path = next
		}
		var times []time.Duration
		var size int
		for i := range pageRounds + 1 {
			began := time.Now()
			body, err := v.get(ctx, path)
			if err != nil {
				return err
			}
			if size = len(body); i > 0 { // the first round only warms up the broker
				times = append(times, time.Since(began))
			}
		}
		slices.Sort(times)
		longest := times[len(times)-1]
		fmt.Fprintf(out, "%-10s %-28s median %6.1f ms, longest %6.1f ms, %6.1f kB: %s\n",
			kind, page.title, milliseconds(times[len(times)/2]), milliseconds(longest), float64(size)/1000, verdictOf(longest < pageGoal))
	}
	return nil
}

func verdictOf(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}
