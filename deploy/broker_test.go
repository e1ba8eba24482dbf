package deploy_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// patience is the longest time that a test waits for an event.
const patience = time.Minute

// TestDeployed builds the broker as the Dockerfile does, and runs it with the configuration files
// in this folder.
func TestDeployed(t *testing.T) {
	binary := buildImageBinary(t)
	t.Run("version", func(t *testing.T) {
		if got := newBroker(t, binary).run(t, []string{"version"}); !strings.HasPrefix(got, "broker 1.2.3 ") {
			t.Errorf("the program in the image has the version %q", got)
		}
	})
	t.Run("systemd", func(t *testing.T) { unitServes(t, newBroker(t, binary)) })
	t.Run("kubernetes", func(t *testing.T) { podServes(t, newBroker(t, binary)) })
	t.Run("fleet", func(t *testing.T) { fleetShares(t, binary) })
	t.Run("service", func(t *testing.T) { serviceServes(t, binary) })
}

// broker runs the broker's program, with a temporary folder in place of the root folder.
type broker struct {
	binary, root string
	here         *strings.Replacer // changes paths so that they are in the temporary folder, and replaces the port by a free one
	environment  []string
	mounts       int
}

// newBroker returns a broker that has not started, and has no environment variables. `more` lists
// texts to replace in the configuration, each followed by its replacement.
func newBroker(t *testing.T, binary string, more ...string) *broker {
	t.Helper()
	// The path of a Unix socket may have at most 107 characters, so t.TempDir is too long.
	root, err := os.MkdirTemp("", "deploy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return &broker{binary: binary, root: root, here: strings.NewReplacer(append(more,
		"/run/", root+"/run/", "/etc/authmaterial/", root+"/etc/authmaterial/", "127.0.0.1:9464", "127.0.0.1:0",
	)...)}
}

// folder creates a folder and returns its path.
func (b *broker) folder(t *testing.T, path string) string {
	t.Helper()
	made := b.here.Replace(path + "/")
	if err := os.MkdirAll(made, 0o700); err != nil {
		t.Fatal(err)
	}
	return made
}

func (b *broker) place(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	made := b.folder(t, folder)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(made, name), []byte(b.here.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mount writes files as the kubelet does: each file is a link through the link ..data, so that
// replacing ..data changes all files at once.
func (b *broker) mount(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	made := b.folder(t, folder)
	b.mounts++
	generation := fmt.Sprintf("..%d", b.mounts)
	b.place(t, folder+"/"+generation, files)
	next, data := filepath.Join(made, "..data_tmp"), filepath.Join(made, "..data")
	before, _ := os.Readlink(data)
	must(t, os.Symlink(generation, next))
	must(t, os.Rename(next, data))
	if before != "" {
		must(t, os.RemoveAll(filepath.Join(made, before)))
		return
	}
	for name := range files {
		must(t, os.Symlink("..data/"+name, filepath.Join(made, name)))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts the broker, and returns when the broker serves calls at its Unix socket. When the test
// ends, start sends SIGTERM, after which the broker must stop without an error.
func (b *broker) start(t *testing.T, arguments []string) {
	t.Helper()
	b.startAt(t, arguments, []string{"--address", "unix:///run/authmaterial/broker.sock"})
}

// startAt is like start, for a broker that `broker health` finds with the given flags.
func (b *broker) startAt(t *testing.T, arguments, flags []string) {
	t.Helper()
	command := b.command(context.Background(), arguments)
	var log strings.Builder
	command.Stderr = &log
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil || t.Failed() {
			t.Errorf("the broker did not stop cleanly: %v\n%s", err, log.String())
		}
	})
	b.run(t, slices.Concat([]string{"health"}, flags, []string{"--timeout", patience.String()}))
}

// run runs the broker until its process ends, and fails the test if the exit status is not 0.
func (b *broker) run(t *testing.T, arguments []string) (output string) {
	t.Helper()
	text, err := b.command(t.Context(), arguments).CombinedOutput()
	if err != nil {
		t.Fatalf("broker %q: %v\n%s", arguments, err, text)
	}
	return string(text)
}

// command returns a command without the environment of the test process, as in a container.
func (b *broker) command(ctx context.Context, arguments []string) *exec.Cmd {
	command := exec.CommandContext(ctx, b.binary)
	for _, argument := range arguments {
		command.Args = append(command.Args, b.here.Replace(argument))
	}
	command.Env, command.Dir, command.WaitDelay = append([]string{}, b.environment...), b.root, patience
	return command
}

// wantSocket checks that only the user and the group of a Unix socket may connect to it.
func (b *broker) wantSocket(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(b.here.Replace(path))
	must(t, err)
	if info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("the file %s has the mode %v, want a socket with the mode 0660", path, info.Mode())
	}
}

func (b *broker) client(t *testing.T, socket string) authmaterialv1.BrokerServiceClient {
	t.Helper()
	connection, err := grpc.NewClient("unix://"+b.here.Replace(socket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return authmaterialv1.NewBrokerServiceClient(connection)
}

// awaitKey waits until the broker serves a key for the credential pendo.
func (b *broker) awaitKey(t *testing.T, socket, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := b.client(t, socket).WatchAuthDecorations(ctx,
		&authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"pendo"}})
	must(t, err)
	for {
		event, err := watch.Recv()
		if err != nil {
			t.Fatalf("the broker does not return the key: %v", err)
		}
		if headers := event.GetAuthDecoration().GetHeaders(); len(headers) == 1 && headers[0].GetValue() == want {
			return
		}
	}
}
