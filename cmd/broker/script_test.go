package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// scriptCommands are the commands that scripts can use in addition to those of testscript. None of
// the commands may follow `!`.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	// `exits CODE PROGRAM ARGS...` runs a program that must exit with CODE, and must not print a
	// secret of an account.
	"exits": scriptCommand(2, (*scriptState).exits),
	// `start NAME PROGRAM ARGS...` starts a program in the background, with the environment that
	// the script began with.
	"start": scriptCommand(2, (*scriptState).start),
	// `await NAME stdout|stderr REGEXP` waits until a line of the program's output matches the
	// regular expression. Named groups of the expression become variables of the script.
	"await": scriptCommand(3, (*scriptState).await),
	// `signal NAME hup|int|term` sends a signal to a program.
	"signal": scriptCommand(2, (*scriptState).signal),
	// `ends NAME HOW` waits until a program has ended, and fails unless it ended as HOW says, for
	// example `exit 0` or `signal terminated`.
	"ends": scriptCommand(3, (*scriptState).ends),
	// `call NAME ADDRESS CREDENTIAL` asks a broker for a credential, in the background.
	"call": scriptCommand(3, (*scriptState).call),
	// `answer NAME` waits for the result of a call. `answer` prints OK if the call succeeded, and
	// otherwise the code and reason of the error.
	"answer": scriptCommand(1, (*scriptState).answer),
	// `get URL` prints the status and body that an HTTP server returns.
	"get": scriptCommand(1, (*scriptState).get),
	// `provider hold|release|hang|refuse` sets how the simulated SendPulse handles token
	// requests. `provider revoke` revokes all its tokens. `provider requests N` waits for N token requests, and fails if there were more.
	"provider": scriptCommand(1, (*scriptState).provider),
	// `fill FILE NAME...` replaces each $NAME in a file by the value of the variable NAME.
	"fill": scriptCommand(2, (*scriptState).fill),
	// `large FILE BYTES` creates a file with this number of bytes.
	"large": scriptCommand(2, (*scriptState).large),
	// `mode FILE` prints the type and mode of a file in the form that ls uses.
	"mode": scriptCommand(1, (*scriptState).mode),
	// `listen PATH` listens on a Unix socket until the script ends.
	"listen": scriptCommand(1, (*scriptState).listen),
	// `abandon PATH` creates a Unix socket on which no process listens.
	"abandon": scriptCommand(1, (*scriptState).abandon),
	// `serve CONFIG` serves a configuration file with simulated providers, and sets BROKER_ADDRESS.
	"serve": scriptCommand(1, (*scriptState).serve),
	// `terminal PROGRAM ARGS...` starts a program at a pseudo-terminal.
	"terminal": scriptCommand(1, (*scriptState).terminal),
	// `expect REGEXP` waits until the terminal shows a new text that matches.
	"expect": scriptCommand(1, (*scriptState).expect),
	// `types TEXT` types a text and Enter; `keys TEXT` types only the text.
	"types": scriptCommand(0, (*scriptState).types),
	"keys":  scriptCommand(1, (*scriptState).keys),
	// `leaves CODE` waits until the program at the terminal has ended with this exit code, and
	// prints what the terminal has shown.
	"leaves": scriptCommand(1, (*scriptState).leaves),
}

// scriptCommand turns a method into a script command with a minimum number of arguments.
func scriptCommand(arguments int, run func(*scriptState, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, negated bool, args []string) {
		if negated || len(args) < arguments {
			ts.Fatalf("the command may not follow `!`, and takes at least %d arguments", arguments)
		}
		run(ts.Value(scriptStateKey{}).(*scriptState), ts, args)
	}
}

type scriptState struct {
	sim         *simulator.Simulator
	release     func() // the function that ends the effect of `provider hold`
	environment []string
	processes   map[string]*process
	calls       map[string]chan error
	session     *session // the program at the terminal
}

type scriptStateKey struct{}

// newScriptState sets the script's first variables. $TOKEN_URL is SendPulse's token
// endpoint, which accepts $SENDPULSE_CLIENT_ID and $SENDPULSE_CLIENT_SECRET; $API_HOST is its host,
// with SendPulse's API. $SOCKETS is a folder with a path that is short enough for Unix sockets.
func newScriptState(env *testscript.Env) error {
	sim, err := simulator.New(simulator.InProcess())
	if err != nil {
		return err
	}
	// Token requests without TLS are allowed to literal loopback addresses.
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "api.sendpulse.com"
		sim.Handler().ServeHTTP(w, r)
	}))
	env.Defer(front.Close)
	env.Defer(func() { _ = sim.Close() })
	sockets, err := os.MkdirTemp("", "broker")
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(sockets) })

	w := &scriptState{sim: sim, release: func() {}, processes: map[string]*process{}, calls: map[string]chan error{}}
	env.Defer(w.killAll)
	env.Setenv("GORACE", os.Getenv("GORACE"))
	env.Setenv("SOCKETS", sockets)
	env.Setenv("TOKEN_URL", front.URL+"/oauth/access_token")
	env.Setenv("API_HOST", strings.TrimPrefix(front.URL, "http://"))
	for name, value := range accountVariables(sim) {
		env.Setenv(name, value)
	}
	w.environment = slices.Clone(env.Vars)
	env.Values[scriptStateKey{}] = w
	return nil
}

func (w *scriptState) killAll() {
	for _, p := range w.processes {
		p.kill()
	}
}

func (w *scriptState) exits(ts *testscript.TestScript, args []string) {
	code, name := args[0], args[1]
	err := ts.Exec(name, args[2:]...)
	got := "0"
	var failed interface{ ExitCode() int }
	switch {
	case errors.As(err, &failed):
		got = fmt.Sprint(failed.ExitCode())
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != code {
		ts.Fatalf("the exit code is %s, want %s", got, code)
	}
	w.checkSecrets(ts, ts.ReadFile("stdout")+ts.ReadFile("stderr"))
}

// checkSecrets fails if the output of a program contains a secret.
func (w *scriptState) checkSecrets(ts *testscript.TestScript, output string) {
	secrets := append(w.sim.Secrets(), wrongSecret)
	if slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(output, secret) }) {
		ts.Fatalf("the output contains a secret")
	}
}

// print stores the broker's output for the script commands `stdout`, `stderr` and `cmp`, and fails
// if the output contains a secret.
func (w *scriptState) print(ts *testscript.TestScript, stdout, stderr string) {
	w.checkSecrets(ts, stdout+stderr)
	_, _ = io.WriteString(ts.Stdout(), stdout)
	_, _ = io.WriteString(ts.Stderr(), stderr)
}

func (w *scriptState) start(ts *testscript.TestScript, args []string) {
	p, err := startProcess(ts.MkAbs("."), w.environment, args[1], args[2:]...)
	ts.Check(err)
	w.processes[args[0]] = p
}

func (w *scriptState) process(ts *testscript.TestScript, name string) *process {
	p := w.processes[name]
	if p == nil {
		ts.Fatalf("no program was started as %s", name)
	}
	return p
}

func (w *scriptState) await(ts *testscript.TestScript, args []string) {
	p := w.process(ts, args[0])
	stream := &p.stderr
	if args[1] == "stdout" {
		stream = &p.stdout
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	match, err := p.await(stream, pattern)
	if err != nil {
		ts.Fatalf("%v\n%s", err, stream.String())
	}
	for i, name := range pattern.SubexpNames() {
		if name != "" {
			ts.Setenv(name, match[i])
		}
	}
}

var scriptSignals = map[string]os.Signal{"hup": syscall.SIGHUP, "int": syscall.SIGINT, "term": syscall.SIGTERM}

func (w *scriptState) signal(ts *testscript.TestScript, args []string) {
	ts.Check(w.process(ts, args[0]).command.Process.Signal(scriptSignals[args[1]]))
}

func (w *scriptState) ends(ts *testscript.TestScript, args []string) {
	p, want := w.process(ts, args[0]), strings.Join(args[1:], " ")
	how, err := p.wait()
	if err != nil || how != want {
		ts.Fatalf("the program ended with %q (%v), want %q\n%s%s", how, err, want, p.stdout.String(), p.stderr.String())
	}
	w.print(ts, p.stdout.String(), p.stderr.String())
}

func (w *scriptState) call(ts *testscript.TestScript, args []string) {
	address, id := args[1], args[2]
	if !strings.HasPrefix(address, "unix:") {
		address = "passthrough:///" + address
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	answer := make(chan error, 1)
	w.calls[args[0]] = answer
	go func() {
		defer cancel()
		defer connection.Close() //nolint:errcheck // an error of Close does not matter, because the response was already read
		_, err := authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(ctx,
			&authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		answer <- err
	}()
}

func (w *scriptState) answer(ts *testscript.TestScript, args []string) {
	answer := w.calls[args[0]]
	if answer == nil {
		ts.Fatalf("no call was started as %s", args[0])
	}
	got := status.Convert(<-answer)
	text := got.Code().String()
	for _, detail := range got.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			text += " " + info.GetReason()
		}
	}
	_, _ = fmt.Fprintln(ts.Stdout(), text)
}

func (w *scriptState) get(ts *testscript.TestScript, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	ts.Check(err)
	response, err := http.DefaultClient.Do(request)
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	w.print(ts, response.Status+"\n"+string(body), "")
}

func (w *scriptState) provider(ts *testscript.TestScript, args []string) {
	switch args[0] {
	case "hold":
		w.release = w.sim.SendPulse.HoldTokenAnswers()
	case "release":
		w.release()
	case "hang":
		w.sim.SendPulse.FailTokenRequests(simulator.Hang())
	case "refuse":
		w.sim.SendPulse.FailNextTokenRequests(1, simulator.OAuthError(http.StatusUnauthorized, "invalid_client"))
	case "revoke":
		w.sim.SendPulse.RevokeTokens()
	case "requests":
		w.awaitRequests(ts, args[1])
	default:
		ts.Fatalf("the script command `provider` has no argument %s", args[0])
	}
}

func (w *scriptState) awaitRequests(ts *testscript.TestScript, number string) {
	var n int
	_, err := fmt.Sscan(number, &n)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(w.sim.SendPulse.AwaitTokenRequests(ctx, n))
	if got := w.sim.SendPulse.TotalTokenRequests(); got != n {
		ts.Fatalf("%d token requests, want %d", got, n)
	}
}

func (*scriptState) fill(ts *testscript.TestScript, args []string) {
	text := ts.ReadFile(args[0])
	for _, name := range args[1:] {
		if !strings.Contains(text, "$"+name) {
			ts.Fatalf("the file does not contain $%s", name)
		}
		text = strings.ReplaceAll(text, "$"+name, ts.Getenv(name))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func (*scriptState) large(ts *testscript.TestScript, args []string) {
	var size int
	_, err := fmt.Sscan(args[1], &size)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat("x", size)), 0o600))
}

func (*scriptState) mode(ts *testscript.TestScript, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[0]))
	ts.Check(err)
	_, _ = fmt.Fprintln(ts.Stdout(), info.Mode())
}

func (*scriptState) listen(ts *testscript.TestScript, args []string) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", args[0])
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
}

func (*scriptState) abandon(ts *testscript.TestScript, args []string) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", args[0])
	ts.Check(err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	ts.Check(listener.Close())
}
