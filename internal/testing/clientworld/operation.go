package clientworld

import (
	"context"
	"encoding/json"
)

// operation is what the runner does next.
type operation struct {
	Session string `json:"session"`
	Op      string `json:"op"`
	Why     string `json:"why,omitempty"`
	Figures string `json:"figures,omitempty"`

	Broker         *brokerOptions `json:"broker,omitempty"`
	ProviderCAFile string         `json:"provider_ca_file,omitempty"`
	Now            *float64       `json:"now,omitempty"`

	*requestOp
	Decoration json.RawMessage `json:"decoration,omitempty"`
	Seconds    float64         `json:"seconds,omitempty"`
}

// brokerOptions is how the client connects to the broker.
type brokerOptions struct {
	Address         string `json:"address"`
	Plaintext       bool   `json:"plaintext"`
	CAFile          string `json:"ca_file,omitempty"`
	CertificateFile string `json:"certificate_file,omitempty"`
	KeyFile         string `json:"key_file,omitempty"`
	ServerName      string `json:"server_name,omitempty"`
	TokenFile       string `json:"token_file,omitempty"`
}

// outcome is what the runner answers.
type outcome struct {
	Unsupported bool `json:"unsupported"`

	Results      []result `json:"results"`
	RequestAfter *message `json:"request_after"`

	message              // for apply
	Error   *clientError `json:"error"` // for apply

	Texts []string `json:"texts"`

	Succeeded int      `json:"succeeded"`
	Failures  []string `json:"failures"`

	raw string
}

type message struct {
	URL     string `json:"url"`
	Headers []pair `json:"headers"`
}

type result struct {
	Status  int          `json:"status"`
	Headers []pair       `json:"headers"`
	Body    string       `json:"body"`
	URL     string       `json:"url"`
	Error   *clientError `json:"error"`
}

type clientError struct {
	Reason       string   `json:"reason"`
	CredentialID string   `json:"credential_id"`
	RetrySeconds *float64 `json:"retry_seconds"`
	Message      string   `json:"message"`
}

func (e *clientError) String() string {
	if e == nil {
		return "no error"
	}
	return e.Reason + " " + e.CredentialID + " " + e.Message
}

// performer has a client perform an operation.
type performer func(ctx context.Context, op operation) (*outcome, error)
