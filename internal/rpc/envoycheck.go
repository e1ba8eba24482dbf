package rpc

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/authmaterial/broker/internal/broker"
)

// These are the keys of context_extensions, in the configuration of an Envoy route, that name the
// credential and the host of the route's cluster. Clients of Envoy cannot set context_extensions.
const (
	extensionCredential = "credential_id" //nolint:gosec // the name of a key
	extensionHost       = "host"
)

func (s *Service) registerCheck(server grpc.ServiceRegistrar) {
	description := authv3.Authorization_ServiceDesc
	m := s.newMethod(authv3.Authorization_Check_FullMethodName, false)
	description.Methods = []grpc.MethodDesc{{
		MethodName: path.Base(m.name),
		Handler: func(_ any, ctx context.Context, _ func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return s.check(ctx, m)
		},
	}}
	server.RegisterService(&description, nil)
}

// check answers Check of Envoy's external authorisation. If there is no material for the request, the
// response contains what Envoy sends to its client. The call then counts as failed, although gRPC
// reports a success.
func (s *Service) check(ctx context.Context, m *method) (response any, err error) {
	c := s.begin(ctx, m)
	var refused error // a status error
	defer func() {
		cause := recover()
		if refused != nil && cause == nil {
			_ = c.end(refused, nil)
			return
		}
		err = c.end(err, cause)
	}()
	caller, err := c.beginProxy()
	if err != nil {
		return nil, err
	}
	request := new(authv3.CheckRequest)
	if err := c.receiveLarge(request); err != nil {
		return nil, err
	}
	target := request.GetAttributes().GetContextExtensions()
	c.credentialID = target[extensionCredential]
	decoration, err := s.options.Broker.GetForHost(ctx, caller, c.credentialID, target[extensionHost])
	if err != nil {
		c.excess = errors.Is(err, broker.ErrManyDenials)
		refused = s.toStatus(ctx, err)
		return denied(refused), nil
	}
	return allowed(decoration, request.GetAttributes().GetRequest().GetHttp()), nil
}

func denied(err error) *authv3.CheckResponse {
	refusal := toRefusal(err)
	var headers []*corev3.HeaderValueOption
	for name, value := range refusal.header {
		headers = append(headers, setHeader(name, value))
	}
	return &authv3.CheckResponse{
		Status: &statuspb.Status{Code: int32(status.Code(err))}, //nolint:gosec // every gRPC code is less than 17
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(refusal.status)}, //nolint:gosec // an HTTP status has three digits
			Headers: headers,
			Body:    refusal.text,
		}},
	}
}

// allowed returns a response by which Envoy adds the material to a request. Envoy replaces only query
// parameters whose key is spelled like that of the new parameter, and does not encode the new ones.
func allowed(d *broker.Decoration, request *authv3.AttributeContext_HttpRequest) *authv3.CheckResponse {
	_, rawQuery, _ := strings.Cut(request.GetPath(), "?")
	add := new(authv3.OkHttpResponse)
	for _, header := range d.Material.Headers {
		if !header.OnlyIfAbsent || !hasHeader(request, header.Name) {
			add.Headers = append(add.Headers, setHeader(header.Name, header.Value.Reveal()))
		}
	}
	for _, param := range d.Material.QueryParams {
		add.QueryParametersToRemove = append(add.QueryParametersToRemove, otherSpellings(rawQuery, param.Name)...)
		add.QueryParametersToSet = append(add.QueryParametersToSet, &corev3.QueryParameter{
			Key: url.QueryEscape(param.Name), Value: url.QueryEscape(param.Value.Reveal()),
		})
	}
	return &authv3.CheckResponse{
		Status:       new(statuspb.Status),
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: add},
		DynamicMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"version": structpb.NewStringValue(d.Version),
		}},
	}
}

// hasHeader reports whether a request has a header. Envoy sends the headers in one of two forms, and
// the names in lower case.
func hasHeader(request *authv3.AttributeContext_HttpRequest, name string) bool {
	name = strings.ToLower(name)
	_, found := request.GetHeaders()[name]
	return found || slices.ContainsFunc(request.GetHeaderMap().GetHeaders(), func(header *corev3.HeaderValue) bool {
		return header.GetKey() == name
	})
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
