package clientworld

import (
	"slices"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// stream is an open watch.
type stream struct {
	ids       []string
	queue     []*authmaterialv1.WatchAuthDecorationsResponse
	delivered bool          // the state of each ID was sent
	wake      chan struct{} // has one element if the queue is not empty
	ended     chan *failure
}

// WatchAuthDecorations implements the API.
func (b *broker) WatchAuthDecorations(
	request *authmaterialv1.WatchAuthDecorationsRequest, server authmaterialv1.BrokerService_WatchAuthDecorationsServer,
) error {
	ctx, ids := server.Context(), request.GetCredentialIds()
	if _, err := b.receive(ctx, call{kind: kindWatch, ids: ids}); err != nil {
		return err
	}
	s := &stream{ids: ids, wake: make(chan struct{}, 1), ended: make(chan *failure, 1)}
	b.board.update(func() {
		for _, id := range ids {
			s.add(b.stateOf(id))
		}
		b.streams = append(b.streams, s)
	})
	defer b.board.update(func() {
		b.streams = slices.DeleteFunc(b.streams, func(other *stream) bool { return other == s })
	})
	for {
		if err := b.sendAll(s, server); err != nil {
			return err
		}
		select {
		case <-s.wake:
		case why := <-s.ended:
			return why.status(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *stream) add(item *authmaterialv1.WatchAuthDecorationsResponse) {
	s.queue = append(s.queue, item)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (b *broker) sendAll(s *stream, server authmaterialv1.BrokerService_WatchAuthDecorationsServer) error {
	for {
		var item *authmaterialv1.WatchAuthDecorationsResponse
		b.board.update(func() {
			if len(s.queue) == 0 {
				s.delivered = true
				return
			}
			item, s.queue = s.queue[0], s.queue[1:]
		})
		if item == nil {
			return nil
		}
		if err := server.Send(item); err != nil {
			return err
		}
	}
}

// serve sets the states that calls and new streams get, and pushes them to open streams.
func (b *broker) serve(states map[string]*authmaterialv1.WatchAuthDecorationsResponse, set, push bool) {
	b.board.update(func() {
		for id, item := range states {
			if set {
				b.states[id] = item
			}
			if !push {
				continue
			}
			for _, s := range b.streams {
				if slices.Contains(s.ids, id) {
					s.add(item)
				}
			}
		}
	})
}

// endStreams ends all open streams with an error.
func (b *broker) endStreams(why *failure) {
	b.board.update(func() {
		for _, s := range b.streams {
			select {
			case s.ended <- why:
			default: // the stream already ends
			}
		}
	})
}
