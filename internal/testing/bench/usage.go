package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A server without Redis lacks degradedMetric, a server without audit lacks the metrics of audit
// records, and some operating systems do not report the resident memory.
const (
	residentMetric = "process_resident_memory_bytes"
	degradedMetric = "authmaterial_token_cache_degraded"
	writtenMetric  = `authmaterial_audit_records_total{result="written"}`
	droppedMetric  = `authmaterial_audit_records_total{result="dropped"}`
)

// usage contains the resources that a process has used since its start.
type usage struct {
	cpuSeconds, allocations, allocatedBytes float64
	// degraded is 1 while the broker considers Redis unreachable, and 0 for a server without Redis.
	degraded float64
	// resident is the resident memory in bytes.
	resident float64
	// written and dropped are the numbers of audit records, and 0 for a server without an audit
	// file.
	written, dropped float64
}

func (t *target) usage(ctx context.Context) (usage, error) {
	read, err := readUsage(ctx, t.http, t.metrics)
	if err != nil {
		return usage{}, err
	}
	used, err := cpuTime(t.process)
	if err == nil {
		read.cpuSeconds = used.Seconds()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return read, err
}

// readUsage reads the metrics at a URL in Prometheus' text format. A nil transport means the
// default transport.
func readUsage(ctx context.Context, transport http.RoundTripper, url string) (usage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usage{}, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return usage{}, err
	}
	defer response.Body.Close()
	var read usage
	wanted := map[string]*float64{
		"process_cpu_seconds_total":     &read.cpuSeconds,
		"go_memstats_mallocs_total":     &read.allocations,
		"go_memstats_alloc_bytes_total": &read.allocatedBytes,
		residentMetric:                  &read.resident,
		degradedMetric:                  &read.degraded,
		writtenMetric:                   &read.written,
		droppedMetric:                   &read.dropped,
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value := wanted[name]
		if value == nil {
			continue
		}
		if *value, err = strconv.ParseFloat(text, 64); err != nil {
			return usage{}, fmt.Errorf("read the metric %s: %w", name, err)
		}
		delete(wanted, name)
	}
	if err := lines.Err(); err != nil {
		return usage{}, fmt.Errorf("read the metrics: %w", err)
	}
	for _, name := range []string{residentMetric, degradedMetric, writtenMetric, droppedMetric} {
		delete(wanted, name)
	}
	for name := range wanted {
		return usage{}, fmt.Errorf("the server has no metric %s", name)
	}
	return read, nil
}
