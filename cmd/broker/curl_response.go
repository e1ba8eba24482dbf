package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// responseHead is the status and the headers of a response.
type responseHead struct {
	status int32
	header http.Header
}

// lastHead returns the head of the last response of which curl wrote the headers.
func lastHead(headers []byte) responseHead {
	head := responseHead{header: http.Header{}}
	for line := range strings.Lines(string(headers)) {
		name, value, isHeader := strings.Cut(line, ":")
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "HTTP/") && len(fields) > 1:
			status, _ := strconv.ParseInt(fields[1], 10, 32)
			head = responseHead{int32(status), http.Header{}}
		case isHeader:
			head.header.Add(name, strings.TrimSpace(value))
		}
	}
	return head
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
