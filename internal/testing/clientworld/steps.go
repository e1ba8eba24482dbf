package clientworld

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

func (w *world) step(ctx context.Context, s *step) error {
	switch {
	case s.Serve != nil:
		w.serve(s.Serve)
	case s.Set != nil:
		w.broker.serve(w.items(s.Set), true, false)
	case s.Push != nil:
		w.broker.serve(w.items(s.Push), false, true)
	case s.Answers != nil:
		w.script(s.Answers)
	case s.EndStreams != nil:
		w.broker.endStreams(s.EndStreams)
	case s.Broker != "":
		return w.switchBroker(ctx, s.Broker)
	case s.Providers != nil:
		return w.prepare(s.Providers)
	case s.Wait != nil:
		return w.wait(ctx, s.Wait)
	case s.Settle.set:
		return pause(ctx, s.Settle.Duration)
	case s.ExpectCalls != nil:
		return w.judgeCalls(ctx, s.ExpectCalls)
	case s.Rotate != nil:
		return w.rotate(s.Rotate)
	default:
		return w.clientStep(ctx, s)
	}
	return nil
}

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
		return w.request(ctx, "request", s.Request, s.Expect)
	case s.Fork != nil:
		return w.request(ctx, "fork", s.Fork, s.Expect)
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
	if found := w.secrets.find(got.raw); found != nil && op.Op != "apply" {
		return nil, fmt.Errorf("the outcome of %s contains the secrets %q: %s", op.Op, found, got.raw)
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
	if err == nil && len(got.Texts) == 0 && !got.Unsupported {
		err = errors.New("the outcome has no texts")
	}
	return err
}

func (w *world) script(answers map[string][]answer) {
	prepared := map[string][]*scripted{}
	for kind, list := range answers {
		for _, a := range list {
			next := &scripted{answer: a}
			if a.State != nil {
				id := a.Credential
				if id == "" {
					id = defaultCredential
				}
				next.state = w.item(id, *a.State)
			}
			prepared[kind] = append(prepared[kind], next)
		}
	}
	w.board.update(func() {
		for kind, list := range prepared {
			w.broker.answers[kind] = list
		}
	})
}

func (w *world) switchBroker(ctx context.Context, to string) error {
	switch to {
	case "stop":
		w.broker.stop()
		return nil
	case "start":
		deadline := time.Now().Add(patience)
		for {
			err := w.broker.start()
			if err == nil || time.Now().After(deadline) {
				return err
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("broker can be stop or start, and not %q", to)
	}
}

func (w *world) prepare(replies map[string][]reply) error {
	for name, list := range replies {
		p := w.providers[name]
		if p == nil {
			return fmt.Errorf("there is no provider %q", name)
		}
		w.board.update(func() { p.replies = slices.Clone(list) })
	}
	return nil
}

func (w *world) rotate(r *rotation) error {
	if r.Certificate != "" {
		if err := w.writeCertificate(r.Certificate); err != nil {
			return err
		}
	}
	if r.Token == "" {
		return nil
	}
	w.secrets.add(r.Token)
	w.board.update(func() { w.broker.token = r.Token })
	return w.writeToken(r.Token)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const defaultCredential = "pendo"

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
	if op == "fork" || r.BodyRepeatable != nil && !*r.BodyRepeatable {
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
		Op: "apply", requestOp: &requestOp{URL: w.expand(a.URL), Headers: w.expandPairs(a.Headers)}, Decoration: text,
	})
	if err != nil {
		return err
	}
	return w.judgeApply(got, want)
}
