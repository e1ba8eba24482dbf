package main

import (
	"context"

	"google.golang.org/grpc"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// answer is what the broker says about one ID: a decoration, or a refusal.
type answer struct {
	id         string
	decoration *authmaterialv1.AuthDecoration
	refusal    *refusal
	// outcome is that of a report, and zero for other calls.
	outcome authmaterialv1.ReportRejectionResponse_Outcome
}

// ask makes the call. Its error is about the call as a whole.
func (f *getFlags) ask(ctx context.Context, broker authmaterialv1.BrokerServiceClient, ids []string) ([]answer, error) {
	switch {
	case f.version != "":
		response, err := broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
			CredentialId: ids[0], Version: f.version, HttpStatus: f.httpStatus,
		})
		if err != nil {
			return nil, f.refused(ids[0], err)
		}
		return []answer{{id: ids[0], decoration: response.GetAuthDecoration(), outcome: response.GetOutcome()}}, nil
	case len(ids) == 1:
		response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: ids[0]})
		if err != nil {
			return nil, f.refused(ids[0], err)
		}
		return []answer{{id: ids[0], decoration: response.GetAuthDecoration()}}, nil
	}
	response, err := broker.BatchGetAuthDecorations(ctx, &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids},
		grpc.MaxCallRecvMsgSize(min(maxAnswer, len(ids)*maxDecoration)))
	if err != nil {
		return nil, f.refused("", err)
	}
	var answers []answer
	for _, result := range response.GetResults() {
		one := answer{id: result.GetCredentialId(), decoration: result.GetAuthDecoration()}
		if result.GetAuthDecoration() == nil {
			one.refusal = refusedItem(one.id, result.GetError())
		}
		answers = append(answers, one)
	}
	return answers, nil
}
