package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// In the comparison of refusals, a caller without a grant requests batches of credentials.
const (
	refusalGrants      = 40
	refusalCallers     = 25 // number of callers in each grant
	refusalBatch       = 100
	refusalCredentials = 1000
	refusalPairs       = 100 // number of pairs of batches, which the flag -rounds multiplies
)

// toldApart is a limit for the z-score of a sign test. From this z-score on, response times reveal
// whether a credential exists. Where they reveal nothing, one of 15,000 runs reaches the limit by
// chance.
const toldApart = 4

func writeGrants(out io.Writer, grants int) {
	for g := range grants {
		fmt.Fprint(out, "  - {credentials: [\"key-of-*\"], callers: [")
		for c := range refusalCallers {
			fmt.Fprintf(out, "\"spiffe://bench.test/team-%d/service-%d\", ", g, c)
		}
		fmt.Fprintln(out, "]}")
	}
}

func measureRefusals(ctx context.Context, chosen options, out io.Writer) (err error) {
	folder, remove, err := writeCertificates(1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	told := task{Certificates: folder, Audit: auditModes[1], Credentials: refusalCredentials, Grants: refusalGrants}
	return with(ctx, roleBroker, told, func(broker endpoint) error {
		pairs, err := refuse(ctx, broker, chosen.rounds*refusalPairs)
		if err != nil {
			return err
		}
		printRefusals(out, pairs)
		return nil
	})
}

// refusal contains two response times in microseconds, for credentials that exist and for
// credentials that do not.
type refusal struct{ existing, missing float64 }

// `refuse` requests existing and missing credentials in random order, and measures the response
// times.
func refuse(ctx context.Context, broker endpoint, pairs int) ([]refusal, error) {
	security, err := tlsConfig(broker.Certificates, strangerFile)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient("passthrough:///"+broker.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(security)))
	if err != nil {
		return nil, err
	}
	defer connection.Close() //nolint:errcheck // an error of Close loses no data
	client := authmaterialv1.NewBrokerServiceClient(connection)
	ask := func(prefix string) (microsecs float64, err error) {
		request := &authmaterialv1.BatchGetAuthDecorationsRequest{}
		for i := range refusalBatch {
			request.CredentialIds = append(request.CredentialIds, fmt.Sprintf("%s-%d", prefix, simulatedCredentials+i))
		}
		began := time.Now()
		response, err := client.BatchGetAuthDecorations(ctx, request)
		took := time.Since(began)
		if err != nil {
			return 0, err
		}
		for _, result := range response.GetResults() {
			if result.GetError() == nil {
				return 0, errors.New("the broker sent a decoration to a caller without a grant")
			}
		}
		return microseconds(took), nil
	}
	var measured []refusal
	for i := range pairs + refusalPairs { // the first pairs of batches only warm up the broker
		var one refusal
		var first, second error
		if rand.N(2) == 0 { //nolint:gosec // this random number need not be secure
			one.existing, first = ask("key-of-1100-byte")
			one.missing, second = ask("no-key-1100-byte")
		} else {
			one.missing, second = ask("no-key-1100-byte")
			one.existing, first = ask("key-of-1100-byte")
		}
		if err := errors.Join(first, second); err != nil {
			return nil, err
		}
		if i >= refusalPairs {
			measured = append(measured, one)
		}
	}
	return measured, nil
}

func printRefusals(out io.Writer, pairs []refusal) {
	slower, faster := 0, 0
	for _, p := range pairs {
		switch {
		case p.existing > p.missing:
			slower++
		case p.existing < p.missing:
			faster++
		}
	}
	z := float64(slower-faster) / math.Sqrt(float64(max(1, slower+faster)))
	verdict := "a caller cannot tell which credentials exist"
	if math.Abs(z) >= toldApart {
		verdict = "A CALLER CAN TELL WHICH CREDENTIALS EXIST"
	}
	var all [2][]float64
	for _, p := range pairs {
		all[0], all[1] = append(all[0], p.existing), append(all[1], p.missing)
	}
	existing, missing := newSpread(all[0]), newSpread(all[1])
	fmt.Fprintf(out, `
Refusals: batches of %d IDs by a caller without a grant, with %d grants of %d callers
for the credentials that exist. %d pairs of batches, in random order.
existing: median %.0f µs; missing: median %.0f µs; %s
(existing slower in %d pairs and faster in %d: z = %.1f)
`, refusalBatch, refusalGrants, refusalCallers, len(pairs), existing.median, missing.median, verdict, slower, faster, z)
}
