package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// accountVariables are the variables of scripts that contain the values of accounts at the
// simulated providers. Each provider accepts two accounts, the second in the variables with the
// suffix _2, and refuses $WRONG.
func accountVariables(sim *simulator.Simulator) map[string]string {
	first, second := sim.SpotDraft.Client(), sim.SpotDraft.AddClient()
	next := sim.SendPulse.AddClient(simulator.Client{})
	return map[string]string{
		"SENDPULSE_CLIENT_ID": sim.SendPulse.Client().ID, "SENDPULSE_CLIENT_SECRET": sim.SendPulse.Client().Secret,
		"SENDPULSE_CLIENT_ID_2": next.ID, "SENDPULSE_CLIENT_SECRET_2": next.Secret,
		"SENDPULSE_KEY": sim.SendPulse.APIKey(), "SENDPULSE_KEY_2": sim.SendPulse.AddAPIKey(),
		"PULSEDIVE_KEY": sim.Pulsedive.Key(), "PULSEDIVE_KEY_2": sim.Pulsedive.AddKey(),
		"PENDO_KEY": sim.Pendo.Key(), "PENDO_KEY_2": sim.Pendo.AddKey("app.pendo.io"),
		"SPOTDRAFT_CLIENT_ID": first.ID, "SPOTDRAFT_CLIENT_SECRET": first.Secret,
		"SPOTDRAFT_CLIENT_ID_2": second.ID, "SPOTDRAFT_CLIENT_SECRET_2": second.Secret,
		"WRONG": wrongSecret, "STORE_KEY": fleetkeys.Generate(), "STORE_KEY_2": fleetkeys.Generate(),
	}
}

const wrongSecret = "wrong-and-never-shown-0123456789"

// serve runs a broker in the test process, because it calls the simulated providers instead of real
// ones. `serve CONFIG` waits until the broker serves, and sets BROKER_ADDRESS; the broker stops with
// the script.
func (w *scriptState) serve(ts *testscript.TestScript, args []string) {
	lookup := func(name string) (string, bool) { value := ts.Getenv(name); return value, value != "" }
	loaded, err := config.Load(ts.MkAbs(args[0]), config.Options{LookupEnv: lookup})
	ts.Check(err)
	broker, err := server.New(server.Options{
		Config: loaded, Logger: slog.New(slog.DiscardHandler), TokenTransport: w.sim.RoundTripper(), Version: version,
	})
	ts.Check(err)
	ctx, stop := context.WithCancel(context.Background())
	on, err := listen(ctx, broker)
	ts.Check(err)
	served := make(chan error, 1)
	go func() { served <- broker.Run(ctx, on) }()
	ts.Defer(func() { stop(); ts.Check(<-served) })
	address := on.GRPC.Addr().String()
	if on.GRPC.Addr().Network() == "unix" {
		address = "unix://" + address
	}
	ts.Setenv("BROKER_ADDRESS", address)
}

// session is a program at a pseudo-terminal.
type session struct {
	command  *exec.Cmd
	keyboard io.Writer
	shown    transcript
	read     int           // the length of the output that the script has seen
	ended    chan struct{} // a channel that is closed when the output has ended
}

// terminal starts a program whose input, output and errors are one pseudo-terminal.
func (w *scriptState) terminal(ts *testscript.TestScript, args []string) {
	command := exec.Command(args[0], args[1:]...) //nolint:noctx // no context is needed, because the script ends the process
	command.Dir, command.Env = ts.MkAbs("."), append(slices.Clone(w.environment), "TERM=xterm", "BROKER_ADDRESS="+ts.Getenv("BROKER_ADDRESS"))
	file, err := pty.StartWithSize(command, &pty.Winsize{Rows: 40, Cols: 200})
	ts.Check(err)
	s := &session{command: command, keyboard: file, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		_, _ = io.Copy(&s.shown, file) // Copy returns when the program has ended
	}()
	ts.Defer(func() {
		_ = command.Process.Kill()
		_ = file.Close()
		<-s.ended
	})
	w.session = s
}

// expect waits until the terminal shows a text that matches a regular expression, after the text
// that the script has expected before.
func (w *scriptState) expect(ts *testscript.TestScript, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	s, giveUp := w.session, time.After(patience)
	for ended := false; ; {
		changed := s.shown.next()
		if at := pattern.FindStringIndex(s.shown.String()[s.read:]); at != nil {
			s.read += at[1]
			return
		}
		if ended {
			ts.Fatalf("the program has ended, and the terminal does not show %q after:\n%s", args[0], s.shown.String())
		}
		select {
		case <-changed:
		case <-s.ended:
			ended = true
		case <-giveUp:
			ts.Fatalf("the terminal does not show %q after:\n%s", args[0], s.shown.String())
		}
	}
}

// `types TEXT` types a text and Enter.
func (w *scriptState) types(ts *testscript.TestScript, args []string) {
	_, err := io.WriteString(w.session.keyboard, strings.Join(args, " ")+"\r")
	ts.Check(err)
}

// `keys TEXT` types a text without Enter. The text may contain escape sequences such as \x03.
func (w *scriptState) keys(ts *testscript.TestScript, args []string) {
	text := strings.NewReplacer(`\x03`, "\x03", `\x1b`, "\x1b", `\r`, "\r", `\n`, "\n").Replace(args[0])
	_, err := io.WriteString(w.session.keyboard, text)
	ts.Check(err)
}

// leaves waits until the program at the terminal has ended, with this exit code, and prints what
// the terminal has shown. The script fails if the terminal has shown a secret.
func (w *scriptState) leaves(ts *testscript.TestScript, args []string) {
	select {
	case <-w.session.ended:
	case <-time.After(patience):
		ts.Fatalf("the program has not ended:\n%s", w.session.shown.String())
	}
	_ = w.session.command.Wait() // the error does not matter: the exit status is read below
	status, _ := w.session.command.ProcessState.Sys().(syscall.WaitStatus)
	if got := fmt.Sprint(status.ExitStatus()); got != args[0] {
		ts.Fatalf("the exit code is %s, want %s:\n%s", got, args[0], w.session.shown.String())
	}
	w.print(ts, strings.ReplaceAll(w.session.shown.String(), "\r", ""), "")
}
