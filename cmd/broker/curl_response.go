package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// lastResponse returns the status and the headers of the last response of which curl wrote the
// headers.
func lastResponse(headers []byte) *http.Response {
	response := &http.Response{Header: http.Header{}}
	for line := range strings.Lines(string(headers)) {
		name, value, isHeader := strings.Cut(line, ":")
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "HTTP/") && len(fields) > 1:
			status, _ := strconv.ParseInt(fields[1], 10, 32)
			response = &http.Response{StatusCode: int(status), Header: http.Header{}}
		case isHeader:
			response.Header.Add(name, strings.TrimSpace(value))
		}
	}
	return response
}

// heldOutput holds back output until pass is called, or the output is larger than maxHeld.
type heldOutput struct {
	out    io.Writer
	held   bytes.Buffer
	passed bool // whether output is no longer held back
}

const maxHeld = 1 << 20 // bytes

func (h *heldOutput) Write(data []byte) (int, error) {
	if !h.passed && h.held.Len()+len(data) <= maxHeld {
		return h.held.Write(data)
	}
	if err := h.pass(); err != nil {
		return 0, err
	}
	return h.out.Write(data)
}

func (h *heldOutput) pass() error {
	h.passed = true
	_, err := h.held.WriteTo(h.out)
	return err
}
