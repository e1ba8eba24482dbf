package rpc

import (
	"context"
	"fmt"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// secretType is the type of the resources of the secret discovery service.
const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

var (
	errNames = invalid(fault.Violation{Field: "resource_names",
		Description: "must have one name, a credential ID: open a stream for each secret, as Envoy does"})
	errSecretType = invalid(fault.Violation{Field: "type_url", Description: "must be " + secretType})
)

func (s *Service) registerSecrets(server grpc.ServiceRegistrar) {
	description := secretv3.SecretDiscoveryService_ServiceDesc
	m := s.newMethod(secretv3.SecretDiscoveryService_StreamSecrets_FullMethodName, true)
	description.Methods = nil
	description.Streams = []grpc.StreamDesc{{
		StreamName: "StreamSecrets", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error { return s.streamSecrets(m, stream) },
	}}
	server.RegisterService(&description, nil)
}

// streamSecrets answers StreamSecrets of Envoy's secret discovery service. The stream is a watch of
// one credential. The credential's ID is the name of the secret, and the value of its only header is
// the text of the secret. The stream ends with an error if the caller cannot get the material, except
// while the broker waits for a token.
func (s *Service) streamSecrets(m *method, stream grpc.ServerStream) (err error) {
	c := s.begin(stream.Context(), m)
	defer func() { err = c.end(err, recover()) }()
	caller, err := c.beginProxy()
	if err != nil {
		return err
	}
	if c.credentialID, err = c.receiveName(); err != nil {
		return err
	}
	ctx, end := s.limitWatch(c.ctx, caller)
	defer end()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	client, name := c, c.credentialID // a copy, because the goroutine may run after this function has returned
	go func() { stop(client.untilOtherName(name)) }()
	sent := 0
	return s.eachState(ctx, caller, []string{name}, func(result broker.Result) error {
		text, failed := secretOf(result)
		if failed != nil && !isFinal(failed) {
			return nil // Envoy continues with the secret that it has
		}
		sent++
		response, err := toSecret(name, text, result.Decoration, sent)
		if err == nil {
			err = stream.SendMsg(response)
		}
		if err != nil {
			return err
		}
		m.Sent.Inc()
		return failed
	})
}

// receiveName receives a request, and returns the name of the secret in it. The request can be large,
// because Envoy describes itself in it.
func (c *call) receiveName() (string, error) {
	request := new(discoveryv3.DiscoveryRequest)
	if err := c.receiveLarge(request); err != nil {
		return "", err
	}
	switch names := request.GetResourceNames(); {
	case request.GetTypeUrl() != "" && request.GetTypeUrl() != secretType:
		return "", errSecretType
	case len(names) != 1:
		return "", errNames
	default:
		return names[0], nil
	}
}

// untilOtherName receives the requests with which Envoy accepts or refuses secrets. It returns the
// error that ends the stream.
func (c *call) untilOtherName(name string) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = c.service.Recovered(c.ctx, cause)
		}
	}()
	for {
		next, err := c.receiveName()
		if err != nil {
			return err
		}
		if next != name {
			return errNames
		}
	}
}

// isFinal reports whether a client must not use the material that it has.
func isFinal(err error) bool {
	switch fault.From(err).Reason { //nolint:exhaustive // the other errors are temporary
	case fault.CredentialNotFound, fault.AccessDenied, fault.CredentialRejected, fault.InvalidRequest:
		return true
	}
	return false
}

// secretOf returns the value of a decoration's only header.
func secretOf(result broker.Result) (string, error) {
	if result.Err != nil {
		return "", result.Err
	}
	material := result.Decoration.Material
	if len(material.Headers) != 1 || len(material.QueryParams) > 0 {
		return "", fault.New(fault.InvalidRequest, fmt.Sprintf(
			"the material of %q is not one header, but %d headers and %d query parameters: use envoy.filters.http.ext_authz",
			result.CredentialID, len(material.Headers), len(material.QueryParams)))
	}
	return material.Headers[0].Value.Reveal(), nil
}

// toSecret returns a response with a secret. Requests fail in Envoy's filter credential_injector while
// the text of the secret is empty.
func toSecret(name, text string, d *broker.Decoration, number int) (*discoveryv3.DiscoveryResponse, error) {
	version := "none"
	if d != nil {
		version = d.Version
	}
	resource, err := anypb.New(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
		Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}},
	}}})
	if err != nil {
		return nil, fmt.Errorf("encode a secret: %w", err)
	}
	return &discoveryv3.DiscoveryResponse{
		VersionInfo: version, Nonce: strconv.Itoa(number), TypeUrl: secretType, Resources: []*anypb.Any{resource},
	}, nil
}
