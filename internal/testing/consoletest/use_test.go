package consoletest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// patience is how long a call or command may take.
const patience = time.Minute

// decoration returns what the user of this process gets.
func (s *scene) decoration(id string) (*authmaterialv1.AuthDecoration, error) {
	return s.decorationFor(s.Context(), id)
}

// decorationOf returns what the caller with a static token gets.
func (s *scene) decorationOf(token, id string) (*authmaterialv1.AuthDecoration, error) {
	return s.decorationFor(metadata.AppendToOutgoingContext(s.Context(), "authorization", "Bearer "+tokenOf(token)), id)
}

func (s *scene) decorationFor(ctx context.Context, id string) (*authmaterialv1.AuthDecoration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := authmaterialv1.NewBrokerServiceClient(s.conn).GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	return answer.GetAuthDecoration(), err
}

// mustDecoration ends the test if the user of this process gets no material.
func (s *scene) mustDecoration(id string) *authmaterialv1.AuthDecoration {
	s.Helper()
	got, err := s.decoration(id)
	if err != nil {
		s.Fatal(err)
	}
	return got
}

// grpcurl returns what the program grpcurl, which `make grpcurl` builds, gets from the broker.
func (s *scene) grpcurl(id string) *authmaterialv1.AuthDecoration {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	program, err := filepath.Abs("../../../.bin/grpcurl")
	if err != nil {
		s.Fatal(err)
	}
	request, _ := json.Marshal(map[string]string{"credential_id": id})
	command := exec.CommandContext(ctx, program, "-plaintext", "-unix", "-d", string(request), s.socket, "authmaterial.v1.BrokerService/GetAuthDecoration")
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		s.Fatalf("%s: %v\n%s\nIf the program is missing, build it: make grpcurl", program, err, &problems)
	}
	answer := &authmaterialv1.GetAuthDecorationResponse{}
	if err := protojson.Unmarshal(output, answer); err != nil {
		s.Fatalf("%v in %s", err, output)
	}
	return answer.GetAuthDecoration()
}

// accepts reports whether a provider accepts a request with a decoration.
func (s *scene) accepts(a account, with *authmaterialv1.AuthDecoration) bool {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, a.url, nil)
	if err != nil {
		s.Fatal(err)
	}
	for _, header := range with.GetHeaders() {
		request.Header.Set(header.GetName(), header.GetValue())
	}
	query := request.URL.Query()
	for _, parameter := range with.GetQueryParams() {
		query.Set(parameter.GetName(), parameter.GetValue())
	}
	request.URL.RawQuery = query.Encode()
	before := a.api.RecognisedRequests()
	answer, err := s.simulator.HTTPClient().Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK && a.api.RecognisedRequests() == before+1
}

// watch returns a function that waits for the next material of a credential, and for which the test
// fails if the next message is an error.
func (s *scene) watch(id string) (next func() *authmaterialv1.AuthDecoration) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	s.Cleanup(cancel)
	stream, err := authmaterialv1.NewBrokerServiceClient(s.conn).WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{id}})
	if err != nil {
		s.Fatal(err)
	}
	return func() *authmaterialv1.AuthDecoration {
		s.Helper()
		defer time.AfterFunc(patience, cancel).Stop()
		message, err := stream.Recv()
		if err != nil || message.GetAuthDecoration() == nil {
			s.Fatalf("the watcher got no material: %v, error %v", message.GetError().GetReason(), err)
		}
		return message.GetAuthDecoration()
	}
}
