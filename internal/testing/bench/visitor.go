package main

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// visitor is a client of the console, as a browser is.
type visitor struct {
	link     *url.URL
	metrics  string
	process  int
	client   *http.Client
	received atomic.Int64 // bytes on all connections
}

func newVisitor(at endpoint) *visitor {
	link, _ := url.Parse(at.SignIn) // the broker made the link
	jar, _ := cookiejar.New(nil)    // never fails
	v := &visitor{link: link, metrics: at.Metrics, process: at.Process}
	v.client = &http.Client{Jar: jar, Transport: &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := new(net.Dialer).DialContext(ctx, network, address)
		return countingConn{connection, &v.received}, err
	}}}
	return v
}

// countingConn counts the bytes that it receives.
type countingConn struct {
	net.Conn

	received *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func (v *visitor) signIn(ctx context.Context) error {
	form := url.Values{"code": {v.link.Query().Get("code")}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.address("/sign-in"), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err = v.send(request)
	return err
}

func (v *visitor) address(path string) string { return v.link.Scheme + "://" + v.link.Host + path }

func (v *visitor) get(ctx context.Context, path string) (body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.address(path), http.NoBody)
	if err != nil {
		return "", err
	}
	return v.send(request)
}

func (v *visitor) send(request *http.Request) (body string, err error) {
	response, err := v.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || strings.HasPrefix(response.Request.URL.Path, "/sign-in")) {
		err = fmt.Errorf("the page %s was answered with %s", response.Request.URL.Path, response.Status)
	}
	return string(data), err
}

var (
	nextLink    = regexp.MustCompile(`href="(/credentials\?[^"]*page=[^"]*)"`)
	assetLinks  = regexp.MustCompile(`(?:href|src)="(/assets/[^"]*)"`)
	statesLinks = regexp.MustCompile(`data-states="([^"]*)"`)
)

// find returns the first group of each match of an expression in the list of credentials.
func (v *visitor) find(ctx context.Context, expression *regexp.Regexp) (found []string, err error) {
	body, err := v.get(ctx, "/credentials")
	for _, match := range expression.FindAllStringSubmatch(body, -1) {
		found = append(found, html.UnescapeString(match[1]))
	}
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the list of credentials has no match of %s", expression)
	}
	return found, err
}

func (v *visitor) nextPage(ctx context.Context) (path string, err error) {
	found, err := v.find(ctx, nextLink)
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// visitFirst prints how many bytes a first visit transfers.
func (v *visitor) visitFirst(ctx context.Context, kind string, out io.Writer) error {
	v.client.CloseIdleConnections()
	v.received.Store(0)
	assets, err := v.find(ctx, assetLinks)
	if err != nil {
		return err
	}
	for _, asset := range assets {
		if _, err := v.get(ctx, asset); err != nil {
			return err
		}
	}
	received := v.received.Load()
	fmt.Fprintf(out, "%-10s first visit: %.1f kB in %d answers: %s\n", kind, float64(received)/1000, 1+len(assets), verdictOf(received < visitGoal))
	return nil
}

// keepOpen prints what openPages open pages with their streams of states cost, and how long a change
// takes to reach all of them.
func (v *visitor) keepOpen(ctx context.Context, stored *database, out io.Writer) error {
	found, err := v.find(ctx, statesLinks)
	if err != nil {
		return err
	}
	ctx, closePages := context.WithCancel(ctx)
	defer closePages()
	location, err := url.Parse(found[0])
	if err != nil {
		return err
	}
	ids := location.Query()
	ids["id"][0] = storedKey
	before, err := readUsage(ctx, nil, v.metrics)
	if err != nil {
		return err
	}
	began := time.Now()
	pages, err := v.open(ctx, "/states?"+ids.Encode())
	if err == nil {
		err = pages.receive(len(ids["id"]))
	}
	if err != nil {
		return err
	}
	opened := time.Since(began)
	after, err := readUsage(ctx, nil, v.metrics)
	if err != nil {
		return err
	}
	if err := stored.change(ctx); err != nil {
		return err
	}
	began = time.Now()
	if err := pages.receive(1); err != nil {
		return err
	}
	changed := time.Since(began)
	last, err := readUsage(ctx, nil, v.metrics)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%-10s %d open pages: all states after %.0f ms, with %.0f ms of CPU time and %.1f MB more memory; a change of a credential after %.0f ms, with %.0f ms of CPU time\n",
		stored.kind, openPages, milliseconds(opened), 1000*(after.cpuSeconds-before.cpuSeconds), (after.resident-before.resident)/1e6,
		milliseconds(changed), 1000*(last.cpuSeconds-after.cpuSeconds))
	return nil
}

// streams are the streams of states of open pages.
type streams []*bufio.Scanner

func (v *visitor) open(ctx context.Context, path string) (opened streams, err error) {
	for range openPages {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.address(path), http.NoBody)
		if err != nil {
			return nil, err
		}
		response, err := v.client.Do(request) //nolint:bodyclose // the context ends the stream
		if err != nil {
			return nil, err
		}
		opened = append(opened, bufio.NewScanner(response.Body))
	}
	return opened, nil
}

// receive waits until each page has received a number of events.
func (s streams) receive(events int) error {
	var all errgroup.Group
	for _, stream := range s {
		all.Go(func() error {
			for n := 0; n < events; {
				if !stream.Scan() {
					return fmt.Errorf("the stream of states ended: %w", stream.Err())
				}
				if strings.HasPrefix(stream.Text(), "data: ") {
					n++
				}
			}
			return nil
		})
	}
	return all.Wait()
}
