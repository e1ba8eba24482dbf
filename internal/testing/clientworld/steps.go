package clientworld

import (
	"context"
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

func (w *world) script(answers map[string][]answer) {
	prepared := map[string][]*scripted{}
	for kind, list := range answers {
		for _, a := range list {
			next := &scripted{answer: a}
			if a.State != nil {
				next.state = w.item(defaultCredential, *a.State)
			}
			prepared[kind] = append(prepared[kind], next)
		}
	}
	w.board.update(func() {
		w.broker.scripts++
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
