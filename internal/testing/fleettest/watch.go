package fleettest

import (
	"context"
	"sync"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const watchPause = 100 * time.Millisecond

// Watch is a caller that watches credentials at one broker, and reconnects after watchPause
// when its stream ends. A Watch is safe for concurrent use.
type Watch struct {
	mu       sync.Mutex
	versions map[string]string // last received version of each credential; empty if the last state was an error
}

// Watch starts a watch of credentials at a broker, which ends with the test. Without credentials,
// Watch watches all of Fleet.Credentials.
func (f *Fleet) Watch(b *Broker, credentials ...Credential) *Watch {
	if len(credentials) == 0 {
		credentials = f.Credentials
	}
	w := &Watch{versions: map[string]string{}}
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			w.receive(ctx, credentials, b)
			select {
			case <-ctx.Done():
			case <-time.After(watchPause):
			}
		}
	})
	f.t.Cleanup(func() {
		stop()
		watching.Wait()
	})
	return w
}

// receive opens one stream, and records its states until it ends.
func (w *Watch) receive(ctx context.Context, credentials []Credential, b *Broker) {
	request := &authmaterialv1.WatchAuthDecorationsRequest{}
	for _, c := range credentials {
		request.CredentialIds = append(request.CredentialIds, c.ID)
	}
	stream, err := b.Client(0).WatchAuthDecorations(ctx, request)
	for err == nil {
		var state *authmaterialv1.WatchAuthDecorationsResponse
		if state, err = stream.Recv(); err == nil {
			w.mu.Lock()
			w.versions[state.GetCredentialId()] = state.GetAuthDecoration().GetVersion()
			w.mu.Unlock()
		}
	}
}

// Version returns the version of a credential that the broker sent last, or "" if the last state
// was an error or there was none.
func (w *Watch) Version(credential string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.versions[credential]
}
