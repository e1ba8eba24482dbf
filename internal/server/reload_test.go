package server_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/reload"
)

const (
	// patience is the maximum wait for an event that always happens if the broker works.
	patience = time.Minute
	// loadCallers is the number of concurrent callers, which make loadRate calls per second
	// together.
	loadCallers = 64
	loadRate    = 500
)

// soak returns how often a test repeats its steps: more often if BROKER_SOAK is set.
func soak(usual, long int) int {
	if os.Getenv("BROKER_SOAK") != "" {
		return long
	}
	return usual
}

// A subject is a credential that changes during the test, with the answers that callers may
// receive.
type subject struct {
	id      string
	file    string           // file with the key, or "" if the configuration file contains the key
	oauth   bool             // whether the credential needs a token
	client  simulator.Client // the token is issued for this OAuth client
	current int              // number of the state that the files contain, or will contain after the next write

	mu      sync.Mutex
	applied int            // number of the latest state that is certainly in use
	absent  []bool         // for each state, whether the credential is missing from the configuration
	tokens  map[string]int // position of each token in the order of issue, by version
	newest  int            // position, in the order of issue, of the newest token that callers certainly receive
}

func (s *subject) key(state int) string { return fmt.Sprintf("secret-of-%s-%d", s.id, state) }

// `change` records a new state of the credential. The caller writes this state to the files
// afterwards.
func (s *subject) change(absent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current++
	s.absent = append(s.absent, absent)
}

func (s *subject) gone() bool { return s.absent[s.current] }

func (s *subject) yaml() string {
	switch {
	case s.oauth:
		return fmt.Sprintf("  - {id: %s, provider: sendpulse, auth_method: oauth2_client_credentials, values: {client_id: {value: %q}, client_secret: {value: %q}}}\n",
			s.id, s.client.ID, s.client.Secret)
	case s.file != "":
		return fmt.Sprintf("  - {id: %s, provider: pendo, auth_method: api_key, values: {api_key: {file: %s}}}\n", s.id, filepath.Base(s.file))
	default:
		return fmt.Sprintf("  - {id: %s, provider: pendo, auth_method: api_key, values: {api_key: {value: %s}}}\n", s.id, s.key(s.current))
	}
}

// values returns the values of the credential's fields in the current state, for comparison.
func (s *subject) values() string {
	if s.oauth {
		return s.client.ID + "\n" + s.client.Secret
	}
	return s.key(s.current)
}

// bounds are the oldest state and the oldest token that a call may return, determined before the
// call.
type bounds struct{ applied, newest int }

func (s *subject) bounds() bounds {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bounds{s.applied, s.newest}
}

// complaint describes what is wrong with an answer, without secrets, or returns an empty text if
// nothing is wrong.
func (s *subject) complaint(b bounds, decoration *authmaterialv1.AuthDecoration, code codes.Code, message string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case code == codes.NotFound:
		return s.seeks(b, true, "it was not found")
	case code != codes.OK:
		return fmt.Sprintf("the call failed: %v %s", code, message)
	case s.oauth:
		if age, known := s.tokens[decoration.GetVersion()]; known && age < b.newest {
			return fmt.Sprintf("token %d is served although the newer token %d was served before", age, b.newest)
		}
		return s.seeks(b, false, "it was found")
	}
	rest, _ := strings.CutPrefix(decoration.GetHeaders()[0].GetValue(), "secret-of-"+s.id+"-")
	state, err := strconv.Atoi(rest)
	switch {
	case err != nil:
		return "the material does not belong to this credential"
	case state < b.applied || state > s.current || s.absent[state]:
		return fmt.Sprintf("the material belongs to state %d, but states %d to %d were in use", state, b.applied, s.current)
	}
	return ""
}

// seeks checks an answer from which follows that the credential was absent, or present. It returns
// a complaint unless this was true at some moment during the call.
func (s *subject) seeks(b bounds, absent bool, what string) string {
	for state := b.applied; state <= s.current; state++ {
		if s.absent[state] == absent {
			return ""
		}
	}
	return fmt.Sprintf("%s in the states %d to %d", what, b.applied, s.current)
}

// reloading is a test of a server that reloads its files when they change.
type reloading struct {
	harness
	folder   string
	subjects []*subject
	loads    atomic.Int64      // number of loads, including failed ones
	loaded   chan loadedConfig // result of each load
	told     map[*subject]chan string
	calls    atomic.Int64
	called   chan struct{} // receives an element for each call, while a test waits for calls
}

// A loadedConfig is the result of a load: an error, or the values of each credential.
type loadedConfig struct {
	values map[string]string
	err    error
}

func newReloading(t *testing.T) *reloading {
	t.Helper()
	r := &reloading{
		harness: newServer(t), folder: t.TempDir(),
		loaded: make(chan loadedConfig, 100000), told: map[*subject]chan string{}, called: make(chan struct{}),
	}
	for i := range 8 {
		s := &subject{id: fmt.Sprintf("credential-%d", i), absent: []bool{false}, tokens: map[string]int{}}
		switch {
		case i == 0:
			s.oauth, s.client = true, r.sim.SendPulse.Client()
		case i == 1:
			s.oauth, s.client = true, r.sim.SendPulse.AddClient(simulator.Client{})
		case i >= 5:
			s.file = filepath.Join(r.folder, s.id)
			r.writeInPlace(s.file, s.key(0)+"\n")
		}
		r.subjects = append(r.subjects, s)
	}
	r.rename(r.configPath(), r.yaml())
	return r
}

func (r *reloading) configPath() string { return filepath.Join(r.folder, "broker.yaml") }

func (r *reloading) yaml() string {
	text := "credentials:\n"
	for _, s := range r.subjects {
		if !s.gone() {
			text += s.yaml()
		}
	}
	return text
}

// follow starts the reload loop of `broker serve`.
func (r *reloading) follow() {
	r.Helper()
	loop, err := reload.New(r.load)
	if err != nil {
		r.Fatalf("the first load fails: %v", err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		loop.Run(ctx, nil)
	}()
	r.Cleanup(func() { end(); <-ended })
}

// The reload loop calls load to load the configuration once.
func (r *reloading) load(reading func(string)) error {
	came := loadedConfig{values: map[string]string{}}
	came.err = r.server.Reload(func() (*config.Config, error) {
		made, err := config.Load(r.configPath(), config.Options{Reading: reading})
		if err != nil {
			return nil, err
		}
		for credential := range made.Credentials.All() {
			var values []string
			for _, field := range []string{"client_id", "client_secret", "api_key"} {
				if value, found := credential.Values[field]; found {
					values = append(values, value.Reveal())
				}
			}
			came.values[credential.ID] = strings.Join(values, "\n")
		}
		return made, nil
	})
	r.loads.Add(1)
	r.loaded <- came
	return came.err
}

func (r *reloading) awaitLoad(what string, wanted func(loadedConfig) bool) {
	r.Helper()
	late := time.After(patience)
	for {
		select {
		case came := <-r.loaded:
			if wanted(came) {
				return
			}
		case <-late:
			r.Fatalf("the server has not loaded %s", what)
		}
	}
}

// awaitApplied waits until the server uses the present contents of the files. From then on, callers
// must not receive older values.
func (r *reloading) awaitApplied() {
	r.Helper()
	want := map[string]string{}
	for _, s := range r.subjects {
		if !s.gone() {
			want[s.id] = s.values()
		}
	}
	r.awaitLoad("the current state of the files", func(came loadedConfig) bool {
		return came.err == nil && maps.Equal(came.values, want)
	})
	for _, s := range r.subjects {
		s.mu.Lock()
		s.applied = s.current
		s.mu.Unlock()
	}
}

// awaitBroken waits until a load of the configuration has failed, and then for some more calls.
func (r *reloading) awaitBroken() {
	r.Helper()
	r.awaitLoad("the broken state of the files", func(came loadedConfig) bool { return came.err != nil })
	r.awaitCalls(loadCallers / 4)
}

func (r *reloading) awaitCalls(n int) {
	r.Helper()
	late := time.After(patience)
	for range n {
		select {
		case <-r.called:
		case <-late:
			r.Fatal("no calls are made")
		}
	}
}

func (r *reloading) writeInPlace(path, text string) {
	r.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// rename replaces a file by a new one, so that the contents change atomically.
func (r *reloading) rename(path, text string) {
	r.Helper()
	next := path + ".next"
	r.writeInPlace(next, text)
	if err := os.Rename(next, path); err != nil {
		r.Fatal(err)
	}
}

func (r *reloading) put(s *subject, replace func(path, text string)) {
	if s.file != "" {
		replace(s.file, s.key(s.current)+"\n")
		return
	}
	r.rename(r.configPath(), r.yaml())
}

// call requests one credential, or all, and reports wrong answers as test errors.
func (r *reloading) call(broker authmaterialv1.BrokerServiceClient, random *rand.Rand, web *http.Client) {
	if random.IntN(8) == 0 {
		r.callBatch(broker)
		return
	}
	s := r.subjects[random.IntN(len(r.subjects))]
	before := s.bounds()
	response, err := broker.GetAuthDecoration(context.Background(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: s.id})
	complaint := s.complaint(before, response.GetAuthDecoration(), status.Code(err), status.Convert(err).Message())
	if complaint == "" && err == nil && s.oauth && random.IntN(16) == 0 {
		complaint = userInfo(web, response.GetAuthDecoration())
	}
	if complaint != "" {
		r.Errorf("%s: %s", s.id, complaint)
	}
}

func (r *reloading) callBatch(broker authmaterialv1.BrokerServiceClient) {
	ids, before := make([]string, len(r.subjects)), make([]bounds, len(r.subjects))
	for i, s := range r.subjects {
		ids[i], before[i] = s.id, s.bounds()
	}
	response, err := broker.BatchGetAuthDecorations(context.Background(), &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		r.Errorf("a batch failed: %v", err)
		return
	}
	for i, result := range response.GetResults() {
		failure := result.GetError()
		code := codes.Code(failure.GetCode())
		if complaint := r.subjects[i].complaint(before[i], result.GetAuthDecoration(), code, failure.GetMessage()); complaint != "" {
			r.Errorf("the answer for %s in a batch is wrong: %s", ids[i], complaint)
		}
	}
}

// userInfo sends a token to the provider, and returns a complaint unless it is accepted.
func userInfo(web *http.Client, decoration *authmaterialv1.AuthDecoration) string {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://api.sendpulse.com/user/info", nil)
	if err == nil {
		err = client.Apply(request, decoration)
	}
	if err != nil {
		return "the token cannot be used"
	}
	response, err := web.Do(request)
	if err != nil {
		return "the provider cannot be reached"
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Sprintf("the provider answers %d to the token", response.StatusCode)
	}
	return ""
}

// startCallers starts callers that share a few connections, until the returned function is called.
func (r *reloading) startCallers() (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	limiter := rate.NewLimiter(loadRate, 1)
	web := r.sim.HTTPClient()
	var callers sync.WaitGroup
	for i := range loadCallers {
		broker := r.client()
		if i < 4 {
			broker = authmaterialv1.NewBrokerServiceClient(connect(r.T, r.grpc.Addr()))
		}
		callers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for limiter.Wait(ctx) == nil {
				r.call(broker, random, web)
				r.calls.Add(1)
				select {
				case r.called <- struct{}{}:
				default:
				}
			}
		})
	}
	return func() { stop(); callers.Wait() }
}

// watchTokens records the order in which watches receive tokens.
func (r *reloading) watchTokens() {
	r.Helper()
	for _, s := range r.subjects {
		if !s.oauth {
			continue
		}
		stream, err := r.client().WatchAuthDecorations(r.Context(), &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{s.id}})
		if err != nil {
			r.Fatal(err)
		}
		versions := make(chan string, 10000)
		r.told[s] = versions
		go func() {
			for {
				state, err := stream.Recv()
				if err != nil {
					return
				}
				if decoration := state.GetAuthDecoration(); decoration != nil {
					versions <- decoration.GetVersion()
				}
			}
		}()
		r.awaitToken(s)
	}
}

// awaitToken waits until a watch receives a new token, so that callers must receive this token or a
// newer one.
func (r *reloading) awaitToken(s *subject) {
	r.Helper()
	late := time.After(patience)
	for {
		select {
		case version := <-r.told[s]:
			s.mu.Lock()
			_, known := s.tokens[version]
			if !known {
				s.newest++
				s.tokens[version] = s.newest
			}
			s.mu.Unlock()
			if !known {
				return
			}
		case <-late:
			r.Fatalf("after the change of its secret, %s has no new token", s.id)
		}
	}
}

// Each of the following functions changes the configuration, and returns when the change is in use,
// or when the broker has rejected it.

func (r *reloading) changeKey(random *rand.Rand) {
	s := r.subjects[2+random.IntN(6)]
	s.change(false)
	replace := r.rename
	if random.IntN(2) == 0 {
		replace = r.writeInPlace
	}
	r.put(s, replace)
	if s.file != "" { // the credential may have been absent before
		r.rename(r.configPath(), r.yaml())
	}
	r.awaitApplied()
}

func (r *reloading) changeSeveral(*rand.Rand) {
	for _, s := range r.subjects[2:] {
		s.change(false)
		if s.file != "" {
			r.put(s, r.rename)
		}
	}
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
}

// remove removes a credential from the configuration, and leaves the file with its secret.
func (r *reloading) remove(random *rand.Rand) {
	s := r.subjects[random.IntN(len(r.subjects))]
	s.change(true)
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
	r.awaitCalls(loadCallers / 4)
	s.change(false)
	if s.file != "" {
		r.put(s, r.rename)
	}
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
}

func (r *reloading) breakConfiguration(random *rand.Rand) {
	broken := []string{
		"credentials: [\n", "", "credentials:\n  - {id: a}\n", "no_such_key: 1\n" + r.yaml(),
		strings.Replace(r.yaml(), "provider: pendo", "provider: nobody", 1),
	}
	r.rename(r.configPath(), broken[random.IntN(len(broken))])
	r.awaitBroken()
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
}

// breakFile removes or empties the file of a secret, and then restores it with a new secret.
func (r *reloading) breakFile(random *rand.Rand) {
	s := r.subjects[5+random.IntN(3)]
	if random.IntN(2) == 0 {
		r.writeInPlace(s.file, "")
	} else if err := os.Remove(s.file); err != nil {
		r.Fatal(err)
	}
	r.awaitBroken()
	s.change(false)
	r.put(s, r.writeInPlace)
	r.awaitApplied()
}

// rotate changes the client secret of a token, first at the provider and then in the file.
func (r *reloading) rotate(random *rand.Rand) {
	s := r.subjects[random.IntN(2)]
	s.change(false)
	if s == r.subjects[0] {
		s.client = r.sim.SendPulse.RotateClientSecret()
	} else {
		s.client = r.sim.SendPulse.AddClient(simulator.Client{})
	}
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
	r.awaitToken(s)
}

// refuse changes the client secret of a token to a wrong one, and later to the right one.
func (r *reloading) refuse(random *rand.Rand) {
	s := r.subjects[random.IntN(2)]
	s.change(false)
	s.client = simulator.Client{ID: fmt.Sprintf("wrong-%d", s.current), Secret: "secret-of-nobody"}
	before := r.sim.SendPulse.TotalTokenRequests()
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
	if err := r.sim.SendPulse.AwaitTokenRequests(r.Context(), before+1); err != nil {
		r.Fatal(err)
	}
	r.awaitCalls(loadCallers / 4)
	s.change(false)
	s.client = r.sim.SendPulse.AddClient(simulator.Client{})
	if s == r.subjects[0] {
		s.client = r.sim.SendPulse.RotateClientSecret()
	}
	r.rename(r.configPath(), r.yaml())
	r.awaitApplied()
	r.awaitToken(s)
}

// TestReloadsUnderLoad changes the files of a server during calls. No call may fail unless its
// credential is absent from the configuration. A call that begins after a change is in use must
// receive no older material, although the API allows a delay of one second.
func TestReloadsUnderLoad(t *testing.T) {
	r := newReloading(t)
	r.grpc, r.http = listenTCP(t), listenTCP(t)
	r.serveBoth()
	r.follow()
	r.awaitApplied()
	r.watchTokens()
	end := r.startCallers()
	defer end()
	changes := []func(*rand.Rand){
		r.changeKey, r.rotate, r.breakConfiguration, r.remove, r.changeKey, r.breakFile,
		r.changeSeveral, r.refuse, r.changeKey, r.remove,
	}
	random := rand.New(rand.NewPCG(1, 2))
	wanted := int64(soak(80, 5000))
	for i := 0; r.loads.Load() < wanted && !t.Failed(); i++ {
		changes[i%len(changes)](random)
	}
	end()
	t.Logf("%d loads, %d calls, %d token requests", r.loads.Load(), r.calls.Load(), r.sim.SendPulse.TotalTokenRequests())
	_, _, metrics := r.fetch("/metrics")
	if !strings.Contains(metrics, "\nauthmaterial_config_last_reload_successful 1\n") || !strings.Contains(metrics, "\nauthmaterial_credentials 8\n") {
		t.Error("the metrics do not report a successful load of 8 credentials")
	}
	for where, text := range map[string]string{"the log": r.log.String(), "/metrics": metrics} {
		r.wantNoSecret(where, text)
		if strings.Contains(text, "secret-of-") {
			t.Errorf("%s contains a secret", where)
		}
	}
}

// A grant to a name that no caller can have causes a warning.
func TestWarningsAreLogged(t *testing.T) {
	w := newWorld(t)
	h := w.serve("", listenTCP(t))
	if err := w.reload(h, "authentication: {}\ngrants: [{callers: [\"uid:1\"], credentials: [\"*\"]}]\n"); err != nil {
		t.Fatal(err)
	}
	lines := h.log.lines(t, "configuration")
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["warning"]), "broker.yaml:14:21: no caller has this name") {
		t.Errorf("the log lines are %v, want the warning", lines)
	}
}

// Each change to a configuration without grants must log a warning.
func TestWarningOfNoGrants(t *testing.T) {
	w := newWorld(t)
	const granted, none = "authentication: {}\ngrants: [{callers: [\"*\"], credentials: [\"*\"]}]\n", "authentication: {}\ngrants: []\n"
	h := w.serve(granted, listenTCP(t))
	for i, test := range []struct {
		more string
		want int
	}{{none, 1}, {none + "# still\n", 1}, {granted, 1}, {none, 2}} {
		if err := w.reload(h, test.more); err != nil {
			t.Fatal(err)
		}
		if lines := h.log.lines(t, "the configuration has no grants: no caller may use any credential"); len(lines) != test.want {
			t.Errorf("after reload %d there are %d warnings, want %d", i+1, len(lines), test.want)
		}
	}
}
