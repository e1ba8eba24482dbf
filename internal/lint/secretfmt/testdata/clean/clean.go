// Package clean contains code that resembles the findings of the rule but must not be reported.
package clean

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// Code may format a field of a message if the field is not a message itself.
func fields(t *testing.T, m *authmaterialv1.AuthDecoration) {
	fmt.Println(m.GetVersion(), len(m.GetHeaders()), m == nil)
	t.Errorf("%s expires %v", m.GetCredentialId(), m.GetExpireTime().AsTime())
	slog.Info("m", "hosts", m.GetAllowedHosts(), "refresh", m.GetRefreshTime())
}

func enums(r *authmaterialv1.ReportRejectionResponse, err *authmaterialv1.AuthDecorationError) string {
	fmt.Println(r.GetOutcome(), err.GetReason())
	fmt.Println([]authmaterialv1.ErrorReason{authmaterialv1.ErrorReason_ERROR_REASON_INTERNAL})
	return r.GetOutcome().String()
}

// Code may format types of authmaterial.v1 that are not messages.
func services(client authmaterialv1.BrokerServiceClient, desc grpc.ServiceDesc) {
	fmt.Println(client, desc, authmaterialv1.UnimplementedBrokerServiceServer{})
}

// Code may format protobuf messages of packages other than authmaterial.v1.
func others(info *errdetails.ErrorInfo, at *timestamppb.Timestamp) string {
	fmt.Println(info, at, []proto.Message{info}, at.String())
	return protojson.Format(info)
}

// Code may pass messages of authmaterial.v1 to functions that do not format their arguments.
func functions(a, b *authmaterialv1.AuthDecoration, errs ...error) bool {
	_ = protojson.Unmarshal([]byte("{}"), a)
	_, _ = proto.Marshal(a)
	print(a)
	_ = errs[0].Error()
	return cmp.Equal(a.GetVersion(), b.GetVersion()) && proto.Equal(a, b) && errors.Join(errs...) == nil
}

// Code may pass messages of authmaterial.v1 to a method that only has the same name as a method of
// testing.T.
type journal struct{}

func (journal) Log(*authmaterialv1.AuthDecoration) {}

func journals(j journal, m *authmaterialv1.AuthDecoration) { j.Log(m) }

// Code may format functions, channels and contexts, because their contents are not printed.
type opaque struct {
	fetch   func() *authmaterialv1.AuthDecoration
	changes chan *authmaterialv1.AuthDecoration
	ctx     context.Context
}

func opaques(o opaque) { fmt.Println(o, &o) }
