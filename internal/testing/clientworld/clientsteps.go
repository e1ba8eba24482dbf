package clientworld

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func (w *world) clientStep(ctx context.Context, s *step) error {
	if !w.hasClient || s.New != nil {
		if err := w.newClient(ctx); err != nil || s.New != nil {
			return err
		}
	}
	switch {
	case s.Clock.set:
		w.now = s.Clock.Duration
		_, err := w.do(ctx, operation{Op: "clock", Now: w.seconds()})
		return err
	case s.Request != nil:
		return w.request(ctx, opRequest, s.Request, s.Expect)
	case s.Fork != nil:
		return w.request(ctx, opFork, s.Fork, s.Expect)
	case s.Apply != nil:
		return w.apply(ctx, s.Apply, s.Expect)
	case s.Texts != nil:
		return w.texts(ctx)
	case s.Close != nil:
		return w.closeClient(ctx)
	default:
		return errors.New("unknown step")
	}
}

// do performs an operation, and searches the outcome for secrets.
func (w *world) do(ctx context.Context, op operation) (*outcome, error) {
	got, err := w.perform(ctx, op)
	if err != nil {
		return nil, err
	}
	text := got.raw
	if op.Op == opApply { // the URL and the headers contain the decoration
		text = got.Error.String()
	}
	if found := w.secrets.find(text); found != nil {
		return nil, fmt.Errorf("the outcome of %s contains the secrets %q: %s", op.Op, found, text)
	}
	if got.Unsupported && op.Op != opRequest && op.Op != opFork {
		return nil, fmt.Errorf("the runner refuses %s as unsupported", op.Op)
	}
	return got, w.violation()
}

func (w *world) seconds() *float64 {
	seconds := float64(beginning.Unix()) + w.now.Seconds()
	return &seconds
}

func (w *world) newClient(ctx context.Context) error {
	op := operation{
		Op: "new", Now: w.seconds(), ProviderCAFile: w.path(caFile),
		Broker: &brokerOptions{Address: w.broker.address, Plaintext: w.vector.Transport != transportTLS && w.vector.Transport != transportMTLS},
	}
	if !op.Broker.Plaintext {
		op.Broker.CAFile, op.Broker.ServerName = w.path(caFile), "localhost"
	}
	if w.vector.Transport == transportMTLS {
		op.Broker.CertificateFile, op.Broker.KeyFile = w.path(certificateFile), w.path(keyFile)
	}
	if w.vector.Token != "" {
		op.Broker.TokenFile = w.path(tokenFile)
	}
	if w.hasClient && !w.closed {
		if err := w.closeClient(ctx); err != nil {
			return err
		}
	}
	w.hasClient, w.closed = true, false
	_, err := w.do(ctx, op)
	return err
}

// closeClient checks the texts of the client, and closes the client.
func (w *world) closeClient(ctx context.Context) error {
	if err := w.texts(ctx); err != nil {
		return err
	}
	w.closed = true
	_, err := w.do(ctx, operation{Op: "close"})
	return err
}

func (w *world) texts(ctx context.Context) error {
	got, err := w.do(ctx, operation{Op: "texts"})
	if err == nil && len(got.Texts) == 0 {
		err = errors.New("the outcome has no texts")
	}
	return err
}

const (
	defaultCredential          = "pendo"
	opRequest, opFork, opApply = "request", "fork", "apply"
)

// request performs a request of the client, and judges it.
func (w *world) request(ctx context.Context, op string, r *requestOp, want *expected) error {
	sent := w.complete(*r)
	deadline := time.Now().Add(patience)
	for {
		w.board.update(func() {
			for _, p := range w.providers {
				p.received = nil
			}
		})
		got, err := w.do(ctx, operation{Op: op, requestOp: &sent})
		if err != nil {
			return err
		}
		if got.Unsupported {
			return skipped(op, r)
		}
		err = w.judgeRequest(&sent, got, want)
		if err == nil || want == nil || !want.Eventually || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// skipped returns an error if no runner may refuse the operation as unsupported.
func skipped(op string, r *requestOp) error {
	if op == opFork || r.BodyRepeatable != nil && !*r.BodyRepeatable {
		return errUnsupported
	}
	return fmt.Errorf("the runner refuses %s as unsupported", op)
}

// errUnsupported ends a vector that the client's language cannot run.
var errUnsupported = errors.New("unsupported")

// complete returns a copy with the defaults and without placeholders.
func (w *world) complete(r requestOp) requestOp {
	yes := true
	if r.Credential == "" {
		r.Credential = defaultCredential
	}
	var all []string
	for _, ids := range r.Credentials {
		all = append(all, expandIDs(ids)...)
	}
	r.Credentials = all
	if r.Method == "" {
		r.Method = "GET"
	}
	if r.URL == "" {
		r.URL = "http://{api}/"
	}
	r.URL = w.expand(r.URL)
	r.Headers = w.expandPairs(r.Headers)
	if r.BodyRepeatable == nil {
		r.BodyRepeatable = &yes
	}
	if r.FollowRedirects == nil {
		r.FollowRedirects = &yes
	}
	r.Count, r.Concurrency = max(r.Count, len(r.Credentials), 1), max(r.Concurrency, 1)
	return r
}

func (w *world) expandPairs(pairs []pair) []pair {
	expanded := []pair{}
	for _, p := range pairs {
		expanded = append(expanded, pair{p[0], w.expand(p[1])})
	}
	return expanded
}

func (w *world) apply(ctx context.Context, a *applyOp, want *expected) error {
	text, err := decorationJSON(w.decoration(defaultCredential, a.Decoration))
	if err != nil {
		return err
	}
	got, err := w.do(ctx, operation{
		Op: opApply, requestOp: &requestOp{URL: w.expand(a.URL), Headers: w.expandPairs(a.Headers)}, Decoration: text,
	})
	if err != nil {
		return err
	}
	return w.judgeApply(got, want)
}
