package clientworld_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// simpleClient follows some of the rules for clients, unless it breaks one by intention.
type simpleClient struct {
	t          *testing.T
	breaks     string
	connection *grpc.ClientConn
	broker     authmaterialv1.BrokerServiceClient
	http       http.Client

	mu     sync.Mutex
	now    time.Time
	copied *authmaterialv1.AuthDecoration
	watch  context.CancelFunc
}

func newSimpleClient(t *testing.T, address, breaks string) *simpleClient {
	t.Helper()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return &simpleClient{
		t: t, breaks: breaks, connection: connection, broker: authmaterialv1.NewBrokerServiceClient(connection),
		http: http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

func (c *simpleClient) close() {
	if c.watch != nil {
		c.watch()
	}
	_ = c.connection.Close()
}

func (c *simpleClient) clock(now float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = time.UnixMicro(int64(now * 1e6))
}

// get returns the copy, or calls the broker.
func (c *simpleClient) get() (*authmaterialv1.AuthDecoration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	usable := c.copied != nil && (c.copied.GetExpireTime() == nil || c.now.Before(c.copied.GetExpireTime().AsTime()))
	if usable && c.breaks != "copies" {
		return c.copied, nil
	}
	response, err := c.broker.GetAuthDecoration(c.t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "pendo"})
	if err != nil {
		return nil, err
	}
	c.copied = response.GetAuthDecoration()
	if c.watch == nil {
		ctx, cancel := context.WithCancel(c.t.Context())
		c.watch = cancel
		go c.follow(ctx)
	}
	return c.copied, nil
}

func (c *simpleClient) follow(ctx context.Context) {
	stream, err := c.broker.WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{"pendo"}})
	if err != nil {
		return
	}
	for {
		item, err := stream.Recv()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.copied = item.GetAuthDecoration()
		c.mu.Unlock()
	}
}

func (c *simpleClient) requests(op object) object {
	count, concurrency := int(op["count"].(float64)), int(op["concurrency"].(float64))
	results := make([]object, count)
	var all sync.WaitGroup
	free := make(chan struct{}, concurrency)
	for i := range results {
		free <- struct{}{}
		all.Go(func() {
			results[i] = c.request(op)
			<-free
		})
	}
	all.Wait()
	return object{"results": results}
}

func (c *simpleClient) request(op object) object {
	decoration, err := c.get()
	if err != nil {
		return object{"error": object{"message": err.Error()}}
	}
	result := c.send(op, op["url"].(string), decoration)
	if status, ok := result["status"].(int); !ok || !slices.Contains(decoration.GetRejectedStatuses(), int32(status)) {
		return result
	}
	response, err := c.broker.ReportRejection(c.t.Context(), &authmaterialv1.ReportRejectionRequest{
		CredentialId: "pendo", Version: decoration.GetVersion(), HttpStatus: int32(result["status"].(int)),
	})
	if err != nil || response.GetOutcome() == authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE {
		return result
	}
	if c.breaks == "report" {
		return result
	}
	c.mu.Lock()
	c.copied = response.GetAuthDecoration()
	c.mu.Unlock()
	return c.send(op, op["url"].(string), response.GetAuthDecoration())
}

func (c *simpleClient) send(op object, url string, decoration *authmaterialv1.AuthDecoration) object {
	body, _ := op["body"].(string)
	request, err := http.NewRequestWithContext(c.t.Context(), op["method"].(string), url, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return nil
	}
	for _, header := range op["headers"].([]any) {
		pair := header.([]any)
		request.Header.Add(pair[0].(string), pair[1].(string))
	}
	err = client.Apply(request, decoration)
	if err != nil && strings.Contains(url, "/next") { // a redirect
		if c.breaks == "redirects" {
			for _, header := range decoration.GetHeaders() {
				request.Header.Set(header.GetName(), header.GetValue())
			}
		}
		err = nil
	}
	if err != nil {
		return object{"error": object{"reason": "HOST_NOT_ALLOWED", "credential_id": "pendo", "message": err.Error()}}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return object{"error": object{"message": "the provider cannot be reached"}}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Error(err)
	}
	if location := response.Header.Get("Location"); location != "" {
		// This removes the query parameter that the provider copied.
		location, _, _ = strings.Cut(location, "&key=")
		return c.send(op, location, decoration)
	}
	return object{"status": response.StatusCode, "body": string(text), "headers": [][2]string{}}
}
