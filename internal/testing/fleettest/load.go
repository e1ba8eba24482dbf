package fleettest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	defaultCallers = 20
	defaultPause   = 250 * time.Millisecond
)

// callLimit is the deadline of a call.
const callLimit = 20 * time.Second

// LoadOptions describe the calls of a Load. The zero value stands for the defaults of all fields.
type LoadOptions struct {
	// Brokers are the brokers to call. Default: all running brokers.
	Brokers []*Broker
	// Callers is the number of callers of each broker, which request the credentials in turn.
	// Default: 20.
	Callers int
	// Credentials are the credentials to request. Default: Fleet.Credentials.
	Credentials []Credential
	// Pause is the average time that a caller waits between two calls. Default: 250 ms.
	Pause time.Duration
	// Check returns an error if an answer is wrong. Default: Fleet.Check.
	Check func(Answer) error
}

func (o LoadOptions) withDefaults(f *Fleet) LoadOptions {
	if o.Brokers == nil {
		o.Brokers = f.Running()
	}
	if o.Callers == 0 {
		o.Callers = defaultCallers
	}
	if o.Credentials == nil {
		o.Credentials = f.Credentials
	}
	if o.Pause == 0 {
		o.Pause = defaultPause
	}
	if o.Check == nil {
		o.Check = f.Check
	}
	return o
}

// Answer is the result of one call of a caller.
type Answer struct {
	Broker     *Broker
	Credential Credential
	Decoration *authmaterialv1.AuthDecoration // the decoration in the answer; nil if the call failed
	Err        error
	// Began is the start time of the call, and Took is the time that the caller waited.
	Began time.Time
	Took  time.Duration
}

// Check returns an error unless the answer contains a token of the credential's client that the
// provider accepts now.
func (f *Fleet) Check(a Answer) error {
	switch {
	case a.Err != nil:
		return fmt.Errorf("the call failed: %s", Describe(a.Err))
	case !f.Provider.Accepts(a.Decoration, a.Credential.Client):
		return errors.New("the caller received a token that the provider does not accept")
	default:
		return nil
	}
}

// Ask requests a credential once, as the caller with the given number.
func (f *Fleet) Ask(b *Broker, caller int, credential Credential) Answer {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	began := time.Now()
	answer, err := b.Client(caller).GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: credential.ID})
	return Answer{
		Broker: b, Credential: credential, Decoration: answer.GetAuthDecoration(), Err: err,
		Began: began, Took: time.Since(began),
	}
}

// Burst starts the given number of callers for each broker at the same time. Each caller makes one
// call, and the calls are distributed over all credentials. Burst returns all answers when the last
// call has ended.
func (f *Fleet) Burst(callers int, brokers ...*Broker) *Answers {
	return f.BeginBurst(callers, brokers...)()
}

// BeginBurst begins the calls of Burst, for a test that does something during the calls. BeginBurst
// returns when each caller is about to call. The function `wait` waits for the answers.
func (f *Fleet) BeginBurst(callers int, brokers ...*Broker) (wait func() *Answers) {
	answers := newAnswers(f, brokers, f.Check)
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for _, b := range brokers {
		for i := range callers {
			ready.Add(1)
			done.Go(func() {
				ready.Done()
				<-begin
				answers.add(f.Ask(b, i, f.Credentials[i%len(f.Credentials)]))
			})
		}
	}
	ready.Wait()
	close(begin)
	return func() *Answers {
		done.Wait()
		return answers
	}
}

// AwaitSameTokens waits until all running brokers serve the same tokens, and returns how long it
// waited. No call may fail during the wait.
func (f *Fleet) AwaitSameTokens() time.Duration {
	f.t.Helper()
	return f.Await("all brokers serve the same tokens", func() error {
		answers := f.Burst(len(f.Credentials), f.Running()...)
		if err := answers.Err(); err != nil {
			f.t.Fatal(err)
		}
		_, different := answers.agreement(1)
		return different
	})
}

// Load is a set of callers that make calls until Stop is called or the test ends.
type Load struct {
	*Answers

	options LoadOptions
	callers sync.WaitGroup
	stop    context.CancelFunc
}

// StartLoad starts the callers of a new Load.
func (f *Fleet) StartLoad(options LoadOptions) *Load {
	options = options.withDefaults(f)
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{Answers: newAnswers(f, options.Brokers, options.Check), options: options, stop: stop}
	for _, b := range options.Brokers {
		for i := range options.Callers {
			l.callers.Go(func() { l.call(ctx, b, i) })
		}
	}
	f.t.Cleanup(func() { l.Stop() })
	return l
}

func (l *Load) call(ctx context.Context, b *Broker, caller int) {
	credentials := l.options.Credentials
	for turn := caller; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(2 * rand.Float64() * float64(l.options.Pause))):
		}
		l.add(l.fleet.Ask(b, caller, credentials[turn%len(credentials)]))
	}
}

// Stop stops the callers, and waits until all calls that have begun are answered.
func (l *Load) Stop() *Answers {
	l.stop()
	l.callers.Wait()
	return l.Answers
}

// WatchReadiness checks repeatedly that every running broker is ready and healthy, until `stop` is
// called. `stop` returns the number of checks and the failures that they found.
func (f *Fleet) WatchReadiness() (stop func() (asked int, err error)) {
	var mu sync.Mutex
	var watching sync.WaitGroup
	var asked int
	var wrong []error
	stopped := make(chan struct{})
	for _, b := range f.Running() {
		watching.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				_, err := b.Ready()
				mu.Lock()
				asked++
				if err != nil && len(wrong) < 10 {
					wrong = append(wrong, err)
				}
				mu.Unlock()
				select {
				case <-tick.C:
				case <-stopped:
					return
				}
			}
		})
	}
	end := sync.OnceFunc(func() { close(stopped); watching.Wait() })
	f.t.Cleanup(end)
	return func() (int, error) {
		end()
		return asked, errors.Join(wrong...)
	}
}
