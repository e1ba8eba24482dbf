package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/authmaterial/broker/internal/authtest"
	"github.com/authmaterial/broker/internal/simulated"
)

// auditModes are those of the configuration.
var auditModes = []string{"required", "best_effort"}

// The files in a folder of certificates.
const (
	authoritiesFile = "authorities.pem"
	serverFile      = "server"
	clientFile      = "client"
	auditFile       = "audit.jsonl"
)

// chainCaller is the SPIFFE ID of the load's certificate.
const chainCaller = "spiffe://bench.test/load"

// chainText is what a configuration has beside the credentials: the last of the grants is
// the load's. The limits are those of one caller who does nothing else.
const chainText = `audit: {file: %[1]q, mode: %[2]s}
limits: {calls_per_second: 1000000, call_burst: 10000000}
grants:
  - {callers: ["token:*"], credentials: ["*"]}
  - {callers: ["spiffe://bench.test/other/*"], credentials: ["*"]}
  - {callers: ["spiffe://bench.test/load"], credentials: ["sendpulse-key", "spot*"]}
  - {callers: ["spiffe://bench.test/*"], providers: [pulsedive]}
  - {callers: ["spiffe://bench.test/lo*"], credentials: ["sendpulse-o*", "pendo"]}
`

// writeChain writes the simulated configuration with TLS, grants and audit.
func writeChain(text *bytes.Buffer, told task) {
	in := func(name string) string { return filepath.Join(told.Certificates, name) }
	fmt.Fprintf(text, chainText, in(auditFile), told.Audit)
	writeGrants(text, told.Grants)
	listening := fmt.Sprintf("listen:\n  tls: {certificate_file: %q, key_file: %q, client_ca_file: %q}\n",
		in(serverFile+".pem"), in(serverFile+".key"), in(authoritiesFile))
	text.Write(bytes.Replace(simulated.Config, []byte("listen:\n"), []byte(listening), 1))
}

// writeCertificates writes what a server and the load prove who they are with to a new
// folder, which remove removes.
func writeCertificates() (folder string, remove func() error, err error) {
	folder, err = os.MkdirTemp("", "bench")
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(folder) }
	authority := authtest.NewAuthority("bench", time.Now())
	server, client := authority.IssueLoopback(), authority.IssueSPIFFE(chainCaller)
	for name, data := range map[string][]byte{
		authoritiesFile:     authority.PEM(),
		serverFile + ".pem": authtest.CertificatePEM(server), serverFile + ".key": authtest.KeyPEM(server),
		clientFile + ".pem": authtest.CertificatePEM(client), clientFile + ".key": authtest.KeyPEM(client),
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	if err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return folder, remove, nil
}

// measureChain compares a broker with everything that guards it, in each mode of its audit,
// with a do-nothing server over the same TLS.
func measureChain(ctx context.Context, chosen settings, out io.Writer) error {
	fmt.Fprint(out, `
The full chain: both servers over TLS 1.3, with client certificates that are verified.
The broker authenticates each call, looks through 5 grants, counts the call for the
caller's limits, writes an audit record to a file, and has its metrics. The do-nothing
server has TLS alone. The load is one caller, over one connection.
`)
	for _, mode := range auditModes {
		if err := measureChainIn(ctx, mode, chosen, out); err != nil {
			return fmt.Errorf("full chain, audit %s: %w", mode, err)
		}
	}
	return nil
}

// measureChainIn measures one mode, with certificates and an audit file of its own.
func measureChainIn(ctx context.Context, mode string, chosen settings, out io.Writer) (err error) {
	folder, remove, err := writeCertificates()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	told := chosen.task(warmToken.credential)
	told.Certificates, told.Audit = folder, mode
	about := warmTokenAnd("full chain, audit " + mode)
	return with(ctx, roleBroker, told, func(broker endpoint) error {
		told.Broker = broker
		return with(ctx, roleDoNothing, told, func(nothing endpoint) error {
			told.First = side{Name: "full chain", At: broker, Audited: true}
			told.Second = side{Name: "do-nothing, TLS", At: nothing}
			return compare(ctx, chosen, about, told, out)
		})
	})
}

// printRecords says whether each call was recorded.
func printRecords(out io.Writer, measured result) error {
	written := spreadOf(measured.Pairs, func(p pair) float64 { return p.First.Written })
	dropped := spreadOf(measured.Pairs, func(p pair) float64 { return p.First.Dropped })
	_, err := fmt.Fprintf(out, "audit records a call: %.3f written (%.3f–%.3f), %.3f dropped (%.3f–%.3f)\n",
		written.median, written.least, written.most, dropped.median, dropped.least, dropped.most)
	return err
}
