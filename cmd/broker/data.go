package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/regularfile"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/server"
)

// These are the names of the files in the folder that `broker serve --data` uses.
const (
	dataSocket   = "broker.sock"
	dataStore    = "broker.db"
	dataStoreKey = "store.key"
	dataToken    = "admin.token"
)

// dataFolder is the folder of a broker that has no configuration file.
type dataFolder struct {
	path    string                   // absolute
	http    string                   // the address of the HTTP listener
	console string                   // the address of the console; empty or "off" for none
	hash    authentication.TokenHash // the hash of the token in the file admin.token
	isNew   bool
}

// openDataFolder creates the folder and the files that are missing in it. Only this user has
// access to them.
func openDataFolder(path, http, console string) (*dataFolder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("other users have access to the folder %s: run chmod 700 %s", path, path)
	}
	d := &dataFolder{path: path, http: http, console: console}
	if _, err := os.Stat(d.file(dataStoreKey)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(d.file(dataStore)); err == nil {
			return nil, fmt.Errorf("the folder %s has the store %s, but not its key %s: restore the key from its backup", path, dataStore, dataStoreKey)
		}
		d.isNew = true
	}
	if _, err := d.secret(dataStoreKey, fleetkeys.Generate); err != nil {
		return nil, err
	}
	token, err := d.secret(dataToken, func() string { return authentication.GenerateToken().Reveal() })
	d.hash = authentication.HashToken(token)
	return d, err
}

func (d *dataFolder) file(name string) string { return filepath.Join(d.path, name) }

// secret returns the content of a file. If the file is missing, secret creates it.
func (d *dataFolder) secret(name string, generate func() string) (secret.Text, error) {
	var err error
	if _, missing := os.Stat(d.file(name)); errors.Is(missing, fs.ErrNotExist) {
		err = d.create(name, generate()+"\n")
	}
	var data []byte
	if err == nil {
		data, err = regularfile.Read(d.file(name), 1<<10)
	}
	if err != nil {
		return secret.Text{}, fmt.Errorf("the file %s: %w", d.file(name), err)
	}
	return secret.New(strings.TrimSpace(string(data))), nil
}

// create creates a file, unless another process creates it first. The file is never incomplete, and
// is on the disk when create returns: without the store key, stored secrets would be lost.
func (d *dataFolder) create(name, content string) error {
	file, err := os.CreateTemp(d.path, name+".*") // only this user has access to a temporary file
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // a temporary file that remains does no harm: the folder is private
	_, err = file.WriteString(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Link(file.Name(), d.file(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// load returns the configuration of the broker.
func (d *dataFolder) load() (*config.Config, error) {
	text := fmt.Sprintf(`listen: {grpc: %q, http: %q}
authentication: {peer_user: true, tokens: [{name: admin, sha256: %q}]}
grants: [{callers: ["uid:%d", "token:admin"], credentials: ["*"], actions: [use, manage, operate]}]
store: {url: %q, keys: [{file: %q}]}
`, "unix://"+d.file(dataSocket), d.http, d.hash, os.Geteuid(), "sqlite://"+d.file(dataStore), d.file(dataStoreKey))
	if d.console != "" && d.console != "off" {
		text += fmt.Sprintf("console: {address: %q}\n", d.console)
	}
	loaded, err := config.Parse("broker serve --data", []byte(text), config.Options{GrantSource: "broker serve --data (built in)"})
	if err == nil {
		loaded.Store.GrantsAreNew = true
	}
	return loaded, err
}

// checkConsole checks the address of the console, which may be empty or "off" for no console. Other
// machines cannot reach the console of a broker without a configuration file.
func checkConsole(address string) error {
	if address == "" || address == "off" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return misused("--console must be an address with a port, such as 127.0.0.1:8081, or off")
	case !config.IsThisMachine(host):
		return misused("--console must be an address of this machine alone, such as 127.0.0.1:8081: to let other machines open the console, use a configuration file (see \"Share the console\" in docs/console.md)")
	}
	return nil
}

// greet tells a person what to do next.
func (d *dataFolder) greet(ctx context.Context, out io.Writer, broker *server.Server) {
	if d.isNew {
		fmt.Fprintf(out, "Created the credential store in %s, and its key %s.\n"+
			"Protect copies of the folder, because they contain the key too. Keep a backup of the key in another place.\n\n", d.path, dataStoreKey)
	}
	begin := "In"
	if broker.HasConsole() {
		user := uint32(os.Geteuid()) //nolint:gosec // a user ID has 32 bits
		link, _, err := broker.SignInLink(ctx, authentication.Evidence{UserID: &user, Address: "unix", PrivateSocket: true})
		if err == nil {
			fmt.Fprintf(out, "Manage credentials in a browser. This link works once, within 5 minutes:\n\n  %s\n\n", link)
			begin = "Or in"
		}
	}
	fmt.Fprintf(out, begin+" another terminal, add a credential, and use it:\n\n"+
		"  export BROKER_ADDRESS=unix://%s\n"+
		"  broker credentials create\n"+
		"  broker get ID\n\n"+
		"Over HTTP, on %s, callers need the token in %s.\n", d.file(dataSocket), d.http, d.file(dataToken))
}
