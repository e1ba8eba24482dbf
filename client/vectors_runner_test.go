package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// operation is what the client does next. clients/vectors/README.md describes the fields.
type operation struct {
	Session, Op, Why string
	Broker           struct {
		Address         string
		Plaintext       bool
		CAFile          string `json:"ca_file"`
		CertificateFile string `json:"certificate_file"`
		KeyFile         string `json:"key_file"`
		ServerName      string `json:"server_name"`
		TokenFile       string `json:"token_file"`
	}
	ProviderCAFile     string `json:"provider_ca_file"`
	Now                float64
	Credential         string
	Credentials        []string
	Method, URL        string
	Headers            [][2]string
	Body               *string
	BodyRepeatable     bool `json:"body_repeatable"`
	FollowRedirects    bool `json:"follow_redirects"`
	Count, Concurrency int
	Decoration         json.RawMessage
	Seconds            float64
}

// outcome is the result of an operation, or of one of its requests.
type outcome map[string]any

// runner performs the operations of one vector with a client.
type runner struct {
	*testing.T
	world      string // URL
	connection *grpc.ClientConn
	client     *client.Client
	base       *http.Transport
	now        atomic.Int64 // nanoseconds since 1970; with 0, the client uses the real clock

	mu    sync.Mutex
	texts []string // texts of errors and responses
}

func newRunner(t *testing.T, world string) *runner {
	t.Helper()
	r := &runner{T: t, world: world}
	t.Cleanup(r.close)
	return r
}

func (r *runner) perform(op operation) outcome {
	switch op.Op {
	case "new":
		r.close()
		r.create(op)
	case "clock":
		r.setClock(op.Now)
	case "request":
		return r.requests(op)
	case "load":
		return r.load(op)
	case "apply":
		return r.apply(op)
	case "texts":
		return outcome{"texts": r.allTexts()}
	case "close":
		r.client.Close()
	default: // a Go program cannot fork
		return outcome{"unsupported": true}
	}
	return outcome{}
}

func (r *runner) create(op operation) {
	r.Helper()
	r.setClock(op.Now)
	var err error
	if r.connection, err = dial(op); err != nil {
		r.Fatal(err)
	}
	r.base = &http.Transport{MaxIdleConnsPerHost: 10}
	if op.ProviderCAFile != "" {
		authorities, err := os.ReadFile(op.ProviderCAFile)
		if err != nil {
			r.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authorities)
		r.base.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	r.client = client.New(r.connection, client.WithClock(r.clock))
}

func dial(op operation) (*grpc.ClientConn, error) {
	var options []grpc.DialOption
	if op.Broker.TokenFile != "" {
		token := client.TokenFile(op.Broker.TokenFile)
		if op.Broker.Plaintext {
			token = withoutTLS{token}
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	if op.Broker.Plaintext {
		return grpc.NewClient(op.Broker.Address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	}
	files := client.TLS{CAFile: op.Broker.CAFile, CertificateFile: op.Broker.CertificateFile, KeyFile: op.Broker.KeyFile, ServerName: op.Broker.ServerName}
	transport, err := files.Credentials()
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(op.Broker.Address, append(options, grpc.WithTransportCredentials(transport))...)
}

// withoutTLS sends a token over a connection without TLS, which package client refuses.
type withoutTLS struct{ credentials.PerRPCCredentials }

func (withoutTLS) RequireTransportSecurity() bool { return false }

func (r *runner) setClock(now float64) {
	seconds, fraction := math.Modf(now)
	r.now.Store(int64(seconds)*int64(time.Second) + int64(fraction*1e6)*int64(time.Microsecond))
}

func (r *runner) clock() time.Time {
	if now := r.now.Load(); now != 0 {
		return time.Unix(0, now)
	}
	return time.Now()
}

func (r *runner) close() {
	if r.client == nil {
		return
	}
	r.client.Close()
	_ = r.connection.Close()
	r.base.CloseIdleConnections()
	r.client = nil
}

func (r *runner) requests(op operation) outcome {
	results := make([]outcome, op.Count)
	var after *http.Request
	turns := make(chan struct{}, op.Concurrency)
	var all sync.WaitGroup
	for i := range results {
		turns <- struct{}{}
		one := op
		if len(op.Credentials) > 0 {
			one.Credential = op.Credentials[i%len(op.Credentials)]
		}
		request, err := requestOf(r.Context(), one)
		if err != nil {
			results[i] = r.failed(err)
			<-turns
			continue
		}
		if i == 0 {
			after = request
		}
		all.Go(func() {
			results[i] = r.send(one, request)
			<-turns
		})
	}
	all.Wait()
	if after == nil {
		return outcome{"results": results}
	}
	return outcome{"results": results, "request_after": outcome{"url": after.URL.String(), "headers": headersOf(after)}}
}

func requestOf(ctx context.Context, op operation) (*http.Request, error) {
	var body io.Reader
	if op.Body != nil {
		if body = strings.NewReader(*op.Body); !op.BodyRepeatable {
			body = io.MultiReader(body)
		}
	}
	request, err := http.NewRequestWithContext(ctx, op.Method, op.URL, body)
	if err != nil {
		return nil, err
	}
	for _, header := range op.Headers {
		if strings.EqualFold(header[0], "Host") {
			request.Host = header[1]
		} else {
			request.Header[header[0]] = append(request.Header[header[0]], header[1])
		}
	}
	return request, nil
}

func headersOf(request *http.Request) [][2]string {
	pairs := pairsOf(request.Header)
	if request.Host != request.URL.Host {
		pairs = append(pairs, [2]string{"Host", request.Host})
	}
	return pairs
}

func pairsOf(headers http.Header) [][2]string {
	pairs := [][2]string{}
	for name, values := range headers {
		for _, value := range values {
			pairs = append(pairs, [2]string{name, value})
		}
	}
	return pairs
}

func (r *runner) send(op operation, request *http.Request) outcome {
	httpClient := &http.Client{Transport: r.client.Transport(op.Credential, r.base)}
	if !op.FollowRedirects {
		httpClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return r.failed(err)
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return r.failed(err)
	}
	sent := response.Request.WithContext(context.Background()) // other goroutines still use the request's own context
	r.keep(sent, sent.URL, *sent.URL, response.Header)
	return outcome{"status": response.StatusCode, "headers": pairsOf(response.Header), "body": string(body), "url": response.Request.URL.String()}
}

func (r *runner) failed(err error) outcome {
	r.keep(err)
	told := outcome{"message": err.Error()}
	if failed := (*client.Error)(nil); errors.As(err, &failed) {
		r.keep(failed, *failed)
		told["reason"], told["credential_id"] = failed.Reason, failed.CredentialID
		if failed.RetryDelay > 0 {
			told["retry_seconds"] = failed.RetryDelay.Seconds()
		}
	}
	return outcome{"error": told}
}

// `keep` keeps the texts of values for the operation `texts`.
func (r *runner) keep(values ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, textsOf(values...)...)
	r.texts = r.texts[max(0, len(r.texts)-100):]
}

func textsOf(values ...any) (texts []string) {
	for _, value := range values {
		texts = append(texts, fmt.Sprint(value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value))
		if text, err := json.Marshal(value); err == nil {
			texts = append(texts, string(text))
		}
	}
	return texts
}

func (r *runner) allTexts() []string {
	transport, source := r.client.Transport("pendo", r.base), r.client.TokenSource("pendo")
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(textsOf(r.client, transport, source), r.texts...)
}

func (r *runner) apply(op operation) outcome {
	decoration := &authmaterialv1.AuthDecoration{}
	if err := protojson.Unmarshal(op.Decoration, decoration); err != nil {
		r.Fatal(err)
	}
	op.Method = http.MethodGet
	request, err := requestOf(r.Context(), op)
	if err == nil {
		err = client.Apply(request, decoration)
	}
	if err != nil {
		return r.failed(err)
	}
	return outcome{"url": request.URL.String(), "headers": headersOf(request)}
}

// `load` sends requests at equal intervals.
func (r *runner) load(op operation) outcome {
	op.Method = http.MethodGet
	interval := time.Duration(op.Seconds * float64(time.Second) / float64(op.Count))
	turns := make(chan struct{}, max(1, op.Concurrency))
	var all sync.WaitGroup
	var succeeded atomic.Int64
	failures := []string{}
	start := time.Now()
	for i := range op.Count {
		<-time.After(time.Until(start.Add(time.Duration(i) * interval)))
		turns <- struct{}{}
		request, err := requestOf(r.Context(), op)
		if err != nil {
			r.Fatal(err)
		}
		all.Go(func() {
			result := r.send(op, request)
			if result["status"] == http.StatusOK {
				succeeded.Add(1)
			} else {
				r.mu.Lock()
				failures = append(failures, fmt.Sprintf("%v after %v", result, time.Since(start)))
				r.mu.Unlock()
			}
			<-turns
		})
	}
	all.Wait()
	return outcome{"succeeded": succeeded.Load(), "failures": failures}
}
