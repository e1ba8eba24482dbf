package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fault"
)

// Providers implements ProviderService, over gRPC and over HTTP. The context of each call must have
// a caller: see WithCaller.
type Providers struct {
	authmaterialv1.UnimplementedProviderServiceServer
}

func (s *Service) registerProviders(server grpc.ServiceRegistrar, p *Providers) {
	description := authmaterialv1.ProviderService_ServiceDesc
	description.Methods = []grpc.MethodDesc{
		managing(s, authmaterialv1.ProviderService_ListProviders_FullMethodName, p.ListProviders),
		managing(s, authmaterialv1.ProviderService_GetProvider_FullMethodName, p.GetProvider),
	}
	server.RegisterService(&description, nil)
}

// ListProviders implements ProviderService.
func (*Providers) ListProviders(
	ctx context.Context, _ *authmaterialv1.ListProvidersRequest,
) (*authmaterialv1.ListProvidersResponse, error) {
	response, c := &authmaterialv1.ListProvidersResponse{}, callerOf(ctx).Config
	for _, provider := range c.Catalog.Providers() {
		response.Providers = append(response.Providers, toProvider(provider, c))
	}
	return response, nil
}

// GetProvider implements ProviderService.
func (*Providers) GetProvider(
	ctx context.Context, r *authmaterialv1.GetProviderRequest,
) (*authmaterialv1.GetProviderResponse, error) {
	c := callerOf(ctx).Config
	provider := c.Catalog.Provider(r.GetProviderId())
	if provider == nil {
		return nil, fault.New(fault.ProviderNotFound, "no provider has this ID: ListProviders returns all providers")
	}
	return &authmaterialv1.GetProviderResponse{Provider: toProvider(provider, c)}, nil
}

func toProvider(p *catalog.Provider, c *config.Config) *authmaterialv1.Provider {
	message := &authmaterialv1.Provider{
		ProviderId: p.ID, DisplayName: p.DisplayName, Description: p.Description, DocumentationUrl: p.DocumentationURL,
		AllowedHosts: p.AllowedHosts, Origin: authmaterialv1.ProviderOrigin_PROVIDER_ORIGIN_CONFIGURATION,
		Sources: p.Sources, Unverified: p.IsUnverified(),
	}
	if c.Catalog.Provider(p.ID) == catalog.Builtin().Provider(p.ID) {
		message.Origin = authmaterialv1.ProviderOrigin_PROVIDER_ORIGIN_BUILT_IN
	}
	for _, method := range p.AuthMethods {
		message.AuthMethods = append(message.AuthMethods, toAuthMethod(method))
	}
	return message
}

func toAuthMethod(m *catalog.AuthMethod) *authmaterialv1.AuthMethod {
	rotation := authmaterialv1.Rotation_value["ROTATION_"+string(m.Rotation)]
	message := &authmaterialv1.AuthMethod{
		AuthMethodId: m.ID, DisplayName: m.DisplayName, Description: m.Description, DocumentationUrl: m.DocumentationURL,
		Verifiable: m.Verification != nil, Rotation: authmaterialv1.Rotation(rotation), UsesToken: m.HasToken(),
		EndsPreviousToken: m.EndsPrevious(), ReplacesRefreshToken: m.ReplacesRefreshToken(),
	}
	for _, header := range m.Headers {
		message.HeaderNames = append(message.HeaderNames, header.Name)
	}
	for _, parameter := range m.QueryParams {
		message.QueryParameterNames = append(message.QueryParameterNames, parameter.Name)
	}
	for _, field := range m.Fields {
		message.Fields = append(message.Fields, &authmaterialv1.Field{
			FieldId: field.ID, DisplayName: field.DisplayName, Description: field.Description, Required: field.Required,
			Secret: field.Secret || !field.SecretStated, Multiline: m.IsMultiline(field.ID),
		})
	}
	return message
}
