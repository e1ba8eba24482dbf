package fleettest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// degradedDetail is how /readyz reports that the broker cannot use Redis.
const degradedDetail = "token cache: degraded"

func (b *Broker) httpClient() *http.Client {
	socket := filepath.Join(b.folder, httpSocket)
	return &http.Client{
		Timeout: Patience,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		},
	}
}

func (b *Broker) fetch(path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://broker.test"+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := b.http.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Ready returns all lines of the answer to /readyz after the first one. Ready returns an error
// unless both /readyz and the gRPC health service report that the broker is ready.
func (b *Broker) Ready() (detail string, err error) {
	status, body, err := b.fetch("/readyz")
	if err != nil {
		return "", fmt.Errorf("%s: /readyz: %w", b.Name, err)
	}
	detail, ok := strings.CutPrefix(body, "ok\n")
	if status != http.StatusOK || !ok {
		return "", fmt.Errorf("%s: /readyz answers %d %q", b.Name, status, body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := health(ctx, b.connections[0]); err != nil {
		return "", fmt.Errorf("%s: health: %w", b.Name, err)
	}
	return detail, nil
}

// Metrics returns the broker's metrics by name and labels, as in `name{label="value"}`.
func (b *Broker) Metrics() (map[string]float64, error) {
	status, body, err := b.fetch("/metrics")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: /metrics: %w", b.Name, err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(body) {
		if space := strings.LastIndexByte(line, ' '); space > 0 && line[0] != '#' {
			if value, err := strconv.ParseFloat(strings.TrimSpace(line[space:]), 64); err == nil {
				values[line[:space]] = value
			}
		}
	}
	return values, nil
}

// Degraded reports whether the broker works without Redis, or returns an error if the metric and
// /readyz disagree.
func (b *Broker) Degraded() (is bool, err error) {
	metrics, err := b.Metrics()
	if err != nil {
		return false, err
	}
	value, ok := metrics["authmaterial_token_cache_degraded"]
	if !ok {
		return false, fmt.Errorf("%s does not export the metric authmaterial_token_cache_degraded", b.Name)
	}
	detail, err := b.Ready()
	if err != nil {
		return false, err
	}
	if says := strings.Contains(detail, degradedDetail); says != (value == 1) {
		return false, fmt.Errorf("%s: the metric for degraded is %v, but /readyz answers %q", b.Name, value, detail)
	}
	return value == 1, nil
}

// Loaded returns when the broker last loaded its configuration.
func (b *Broker) Loaded() (time.Time, error) {
	metrics, err := b.Metrics()
	if err != nil {
		return time.Time{}, err
	}
	seconds := metrics["authmaterial_config_last_load_timestamp_seconds"]
	return time.UnixMicro(int64(seconds * 1e6)), nil
}

// TokenRequests returns how many token requests the broker's process has made for each credential,
// including failed ones.
func (b *Broker) TokenRequests() map[string]int {
	b.t.Helper()
	metrics, err := b.Metrics()
	if err != nil {
		b.t.Fatal(err)
	}
	made := map[string]int{}
	for _, c := range b.fleet.Credentials {
		for _, result := range []string{"ok", "refused", "rate_limited", "unavailable"} {
			series := fmt.Sprintf(`authmaterial_token_requests_total{auth_method=%q,provider=%q,result=%q}`, MethodID, ProviderID(c.ID), result)
			value, ok := metrics[series]
			if !ok {
				b.t.Fatalf("%s has no metric %s", b.Name, series)
			}
			made[c.ID] += int(value)
		}
	}
	return made
}

// callsUnderWay returns how many calls of a method the broker has not answered yet.
func (b *Broker) callsUnderWay(method string) (int, error) {
	metrics, err := b.Metrics()
	if err != nil {
		return 0, err
	}
	count := 0.0
	for series, value := range metrics {
		switch {
		case !strings.Contains(series, fmt.Sprintf("grpc_method=%q", method)):
		case strings.HasPrefix(series, "grpc_server_started_total{"):
			count += value
		case strings.HasPrefix(series, "grpc_server_handled_total{"):
			count -= value
		}
	}
	return int(count), nil
}
