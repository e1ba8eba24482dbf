package clientworld

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	kindGet    = "get"
	kindWatch  = "watch"
	kindReport = "report"
	kindUsage  = "usage"
	// maxIDs is the largest number of IDs or uses in one call.
	maxIDs = 100
	// The broker of a vector keeps its port while it is stopped. The ports are below those that
	// systems give to connections, so that no connection takes the port in the meantime.
	firstPort, ports = 20_000, 10_000
)

// brokerPorts are the ports of all brokers of this process, so that no broker takes the port of one
// that is stopped.
var brokerPorts sync.Map

// broker is a scripted broker. Its states and answers are guarded by the board.
type broker struct {
	authmaterialv1.UnimplementedBrokerServiceServer

	board   *board
	address string
	tls     *tls.Config // nil: plaintext
	server  *grpc.Server

	token      string // "" if no token is expected
	states     map[string]*authmaterialv1.WatchAuthDecorationsResponse
	answers    map[string][]*scripted
	scripts    int // the number of steps that have set answers
	streams    []*stream
	calls      []call
	mark       int       // calls before this index have been judged
	marked     time.Time // when they were judged, or when the broker began
	violations []string
}

// scripted is an answer whose state is already in the API's form.
type scripted struct {
	answer
	state *authmaterialv1.WatchAuthDecorationsResponse
}

// call is a call that the broker received.
type call struct {
	kind        string
	ids         []string
	versions    []string // "ID VERSION", for report and usage
	httpStatus  int32
	token       string
	certificate string // the common name
}

func (c call) String() string {
	text := c.kind + " " + strings.Join(c.ids, ",")
	if len(c.ids) > 5 {
		text = fmt.Sprintf("%s %s… (%d IDs)", c.kind, c.ids[0], len(c.ids))
	}
	if c.versions != nil {
		text = c.kind + " " + strings.Join(c.versions, ",")
	}
	if c.httpStatus != 0 {
		text += fmt.Sprintf(" (status %d)", c.httpStatus)
	}
	return text
}

func newBroker(b *board, config *tls.Config, token string) (*broker, error) {
	made := &broker{
		board: b, tls: config, token: token,
		states:  map[string]*authmaterialv1.WatchAuthDecorationsResponse{},
		answers: map[string][]*scripted{}, marked: time.Now(),
	}
	for range 100 {
		port := firstPort + rand.IntN(ports)
		if _, taken := brokerPorts.LoadOrStore(port, true); taken {
			continue
		}
		made.address = fmt.Sprintf("127.0.0.1:%d", port)
		if err := made.start(); err == nil {
			return made, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d", firstPort, firstPort+ports)
}

// start listens on the broker's address.
func (b *broker) start() error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", b.address)
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if b.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(b.tls)))
	}
	b.server = grpc.NewServer(options...)
	authmaterialv1.RegisterBrokerServiceServer(b.server, b)
	go func() { _ = b.server.Serve(listener) }()
	return nil
}

// stop closes the listener and all connections.
func (b *broker) stop() { b.server.Stop() }

// receive records a call, and returns the scripted answer to it, or nil.
func (b *broker) receive(ctx context.Context, c call) (*scripted, error) {
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		c.token = strings.TrimPrefix(strings.Join(values, " and "), "Bearer ")
	}
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			c.certificate = info.State.PeerCertificates[0].Subject.CommonName
		}
	}
	var next *scripted
	authenticated, scripts := true, 0
	b.board.update(func() {
		scripts = b.scripts
		b.calls = append(b.calls, c)
		if len(c.ids) == 0 || len(c.ids) > maxIDs {
			b.violations = append(b.violations, fmt.Sprintf("a call of %s has %d IDs, want 1 to %d", c.kind, len(c.ids), maxIDs))
		}
		if authenticated = c.token == b.token; !authenticated {
			b.violations = append(b.violations, fmt.Sprintf("a call of %s has the token %q, want %q", c.kind, c.token, b.token))
		}
		next = b.nextAnswer(c.kind)
	})
	if !authenticated {
		return nil, (&failure{Reason: "CALLER_UNAUTHENTICATED"}).status(ctx)
	}
	if next == nil {
		return &scripted{}, nil
	}
	b.gather(ctx, c.kind, next.Gather)
	if next.Held {
		b.board.await(ctx, abandoned, func() bool { return b.scripts > scripts })
	}
	select {
	case <-time.After(next.Delay.Duration):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if next.Error != nil {
		return nil, next.Error.status(ctx)
	}
	return next, nil
}

// gather waits until n calls of a kind have arrived that are not judged.
func (b *broker) gather(ctx context.Context, kind string, n int) {
	arrived := 0
	if b.board.await(ctx, patience, func() bool { arrived = len(b.recent(kind)); return arrived >= n }) || ctx.Err() != nil {
		return
	}
	b.board.update(func() {
		b.violations = append(b.violations, fmt.Sprintf("only %d calls of %s arrived, want %d at the same time", arrived, kind, n))
	})
}

func (b *broker) nextAnswer(kind string) *scripted {
	queue := b.answers[kind]
	if len(queue) == 0 {
		return nil
	}
	if queue[0].Count--; queue[0].Count <= 0 {
		b.answers[kind] = queue[1:]
	}
	return queue[0]
}

// GetAuthDecoration implements the API.
func (b *broker) GetAuthDecoration(
	ctx context.Context, request *authmaterialv1.GetAuthDecorationRequest,
) (*authmaterialv1.GetAuthDecorationResponse, error) {
	id := request.GetCredentialId()
	if _, err := b.receive(ctx, call{kind: kindGet, ids: []string{id}}); err != nil {
		return nil, err
	}
	current := b.current(id)
	if item := current.GetError(); item != nil {
		return nil, itemStatus(ctx, item)
	}
	return &authmaterialv1.GetAuthDecorationResponse{AuthDecoration: current.GetAuthDecoration()}, nil
}

// current returns the state of a credential, which is an error if nothing is served.
func (b *broker) current(id string) (current *authmaterialv1.WatchAuthDecorationsResponse) {
	b.board.read(func() { current = b.stateOf(id) })
	return current
}

func (b *broker) stateOf(id string) *authmaterialv1.WatchAuthDecorationsResponse {
	if current := b.states[id]; current != nil {
		return current
	}
	unknown := &failure{Reason: "CREDENTIAL_NOT_FOUND"}
	return unknown.item(id)
}

// ReportRejection implements the API.
func (b *broker) ReportRejection(
	ctx context.Context, request *authmaterialv1.ReportRejectionRequest,
) (*authmaterialv1.ReportRejectionResponse, error) {
	id := request.GetCredentialId()
	next, err := b.receive(ctx, call{
		kind: kindReport, ids: []string{id}, versions: []string{id + " " + request.GetVersion()}, httpStatus: request.GetHttpStatus(),
	})
	if err != nil {
		return nil, err
	}
	outcome := authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE
	if next.Outcome != "" {
		outcome = authmaterialv1.ReportRejectionResponse_Outcome(authmaterialv1.ReportRejectionResponse_Outcome_value["OUTCOME_"+next.Outcome])
	}
	current := next.state
	if current == nil {
		current = b.current(id)
	} else {
		b.serve(map[string]*authmaterialv1.WatchAuthDecorationsResponse{id: current}, !next.NoServe, !next.NoPush)
	}
	return &authmaterialv1.ReportRejectionResponse{AuthDecoration: current.GetAuthDecoration(), Outcome: outcome}, nil
}

// ReportUsage implements the API.
func (b *broker) ReportUsage(
	ctx context.Context, request *authmaterialv1.ReportUsageRequest,
) (*authmaterialv1.ReportUsageResponse, error) {
	c := call{kind: kindUsage}
	for _, use := range request.GetUses() {
		c.ids = append(c.ids, use.GetCredentialId())
		c.versions = append(c.versions, use.GetCredentialId()+" "+use.GetVersion())
	}
	if _, err := b.receive(ctx, c); err != nil {
		return nil, err
	}
	return &authmaterialv1.ReportUsageResponse{}, nil
}

// itemStatus returns the error of a call for the error of a watched credential.
func itemStatus(ctx context.Context, item *authmaterialv1.AuthDecorationError) error {
	why := &failure{Reason: strings.TrimPrefix(item.GetReason().String(), "ERROR_REASON_")}
	if item.GetRetryDelay() != nil {
		why.Retry = duration{item.GetRetryDelay().AsDuration(), true}
	}
	return why.status(ctx)
}
