package fleettest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// Defaults of LoadOptions.
const (
	defaultCallers = 20
	defaultPause   = 250 * time.Millisecond
)

// callLimit is the deadline of a call. None comes near it but in a broker that is broken.
const callLimit = 20 * time.Second

// LoadOptions describe a load. The zero value is usable.
type LoadOptions struct {
	// Brokers are those that are called. Default: all that run.
	Brokers []*Broker
	// Callers is how many callers each broker has. Each goes round all credentials.
	// Default: 20.
	Callers int
	// Pause is how long a caller waits between two calls, on average. Default: 250 ms.
	Pause time.Duration
	// Check returns what is wrong with an answer. Default: Fleet.Check.
	Check func(Answer) error
}

func (o LoadOptions) withDefaults(f *Fleet) LoadOptions {
	if o.Brokers == nil {
		o.Brokers = f.Running()
	}
	if o.Callers == 0 {
		o.Callers = defaultCallers
	}
	if o.Pause == 0 {
		o.Pause = defaultPause
	}
	if o.Check == nil {
		o.Check = f.Check
	}
	return o
}

// Answer is what a caller got.
type Answer struct {
	Broker     *Broker
	Credential Credential
	Decoration *authmaterialv1.AuthDecoration // nil when Err is not
	Err        error
	// Began is when the call began, and Took how long the caller waited.
	Began time.Time
	Took  time.Duration
}

// Check returns an error unless an answer is a token of the credential's client that the
// provider accepts at this moment.
func (f *Fleet) Check(a Answer) error {
	switch {
	case a.Err != nil:
		return errors.New("fails with " + Describe(a.Err))
	case !f.Provider.Accepts(a.Decoration, a.Credential.Client):
		return errors.New("gets what the provider does not accept")
	default:
		return nil
	}
}

// Ask has one caller of a broker make one call.
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

// Burst has callers of each broker make one call each, all at once and spread over the
// credentials. It returns what they got when all calls have ended.
func (f *Fleet) Burst(callers int, brokers ...*Broker) *Answers {
	return f.BeginBurst(callers, brokers...)()
}

// BeginBurst is Burst for a test that does something meanwhile. It returns when each
// caller is about to call.
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

// AwaitSameTokens waits until all brokers that run answer with the same tokens at once,
// and returns how long that took. No call may fail meanwhile.
func (f *Fleet) AwaitSameTokens() time.Duration {
	f.t.Helper()
	return f.Await("all brokers have the same tokens", func() error {
		answers := f.Burst(len(f.Credentials), f.Running()...)
		if err := answers.Err(); err != nil {
			f.t.Fatal(err)
		}
		_, different := answers.agreement(1)
		return different
	})
}

// Load is callers that call again and again, until Stop.
type Load struct {
	*Answers

	options LoadOptions
	callers sync.WaitGroup
	stop    context.CancelFunc
}

// StartLoad starts a load. The end of the test stops it.
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

// call is one caller.
func (l *Load) call(ctx context.Context, b *Broker, caller int) {
	credentials := l.fleet.Credentials
	for turn := caller; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(2 * rand.Float64() * float64(l.options.Pause))):
		}
		l.add(l.fleet.Ask(b, caller, credentials[turn%len(credentials)]))
	}
}

// Stop ends the load once the calls that are under way have been answered.
func (l *Load) Stop() *Answers {
	l.stop()
	l.callers.Wait()
	return l.Answers
}

// WatchReadiness asks every broker that runs for its readiness and health all the time,
// until stop is called. It returns how often it asked, and what went wrong.
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
