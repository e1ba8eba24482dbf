package strategies_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// TestAnswersOfAHostileProvider checks that a request returns no token and allocates at most 8 MiB
// if the endpoint announces more bytes than it sends, or sends bytes without end.
func TestAnswersOfAHostileProvider(t *testing.T) {
	for name, answer := range peertest.Answers() {
		t.Run(name, func(t *testing.T) {
			client := strategies.NewTokenClient(strategies.TokenClientOptions{})
			tokens := elsewhere(t, client, func(r *catalog.TokenRequest) { r.URL = urlOf(t, "http://"+peertest.Serve(t, answer)) })
			peertest.WantAllocated(t, 8<<20, func() {
				_, err := tokens.RequestToken(t.Context())
				if got := outcome(err); got != "PROVIDER_UNAVAILABLE" {
					t.Errorf("the outcome is %s", got)
				}
			})
		})
	}
}

// TestAnswersByteByByte checks that a token request ends after ten seconds although the endpoint
// continues to send one byte per second.
func TestAnswersByteByByte(t *testing.T) {
	for name, beginning := range map[string]string{
		"a header": "HTTP/1.1 200 OK\r\nX: ",
		"a body":   "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
		"a chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var serving sync.WaitGroup
				defer serving.Wait()
				dial := func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					serving.Go(func() { drip(theirs, beginning) })
					return ours, nil
				}
				client := strategies.NewTokenClient(strategies.TokenClientOptions{
					Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
				})
				began := time.Now()
				_, err := elsewhere(t, client, func(r *catalog.TokenRequest) { r.URL = urlOf(t, "http://127.0.0.1") }).RequestToken(t.Context())
				if got := outcome(err); got != "PROVIDER_UNAVAILABLE" || time.Since(began) != 10*time.Second {
					t.Errorf("the outcome is %s after %v, want PROVIDER_UNAVAILABLE after 10s", got, time.Since(began))
				}
			})
		})
	}
}

// drip sends the text `beginning`, and then one byte per second until the client disconnects.
func drip(conn net.Conn, beginning string) {
	defer conn.Close() //nolint:errcheck // an error does not matter, because the client has closed the connection
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for part := beginning; ; part = "x" {
		if _, err := io.WriteString(conn, part); err != nil {
			return
		}
		<-tick.C
	}
}
