package main

import "github.com/authmaterial/broker/internal/catalog"

// The JSON of definitions, with the keys of the configuration file.
type (
	providersJSON struct {
		Providers []providerJSON `json:"providers"`
	}
	providerJSON struct {
		ID               string       `json:"id"`
		DisplayName      string       `json:"display_name"`
		Description      string       `json:"description,omitempty"`
		DocumentationURL string       `json:"documentation_url,omitempty"`
		AllowedHosts     []string     `json:"allowed_hosts"`
		AuthMethods      []methodJSON `json:"auth_methods"`
	}
	methodJSON struct {
		ID               string            `json:"id"`
		DisplayName      string            `json:"display_name"`
		Description      string            `json:"description,omitempty"`
		DocumentationURL string            `json:"documentation_url,omitempty"`
		RejectedStatuses []int             `json:"rejected_statuses"`
		Fields           []fieldJSON       `json:"fields"`
		TokenRequest     *tokenRequestJSON `json:"token_request,omitempty"`
		Headers          []placementJSON   `json:"headers,omitempty"`
		QueryParams      []placementJSON   `json:"query_params,omitempty"`
	}
	fieldJSON struct {
		ID          string `json:"id"`
		DisplayName string `json:"display_name"`
		Description string `json:"description,omitempty"`
		Required    bool   `json:"required"`
		Secret      bool   `json:"secret"`
	}
	placementJSON struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	tokenRequestJSON struct {
		URL                   string            `json:"url"`
		Body                  string            `json:"body"`
		ClientAuthentication  string            `json:"client_authentication"`
		Parameters            map[string]string `json:"parameters,omitempty"`
		DefaultLifetime       string            `json:"default_lifetime"`
		AllowPrivateAddresses bool              `json:"allow_private_addresses,omitempty"`
		PreviousToken         string            `json:"previous_token"`
	}
)

func newProvidersJSON(known *catalog.Catalog) providersJSON {
	made := providersJSON{Providers: []providerJSON{}}
	for _, provider := range known.Providers() {
		made.Providers = append(made.Providers, newProviderJSON(provider))
	}
	return made
}

func newProviderJSON(provider *catalog.Provider) providerJSON {
	made := providerJSON{
		ID:               provider.ID,
		DisplayName:      provider.DisplayName,
		Description:      provider.Description,
		DocumentationURL: provider.DocumentationURL,
		AllowedHosts:     provider.AllowedHosts,
	}
	for _, method := range provider.AuthMethods {
		made.AuthMethods = append(made.AuthMethods, newMethodJSON(method))
	}
	return made
}

func newMethodJSON(method *catalog.AuthMethod) methodJSON {
	made := methodJSON{
		ID:               method.ID,
		DisplayName:      method.DisplayName,
		Description:      method.Description,
		DocumentationURL: method.DocumentationURL,
		RejectedStatuses: append([]int{}, method.RejectedStatuses...),
	}
	for _, field := range method.Fields {
		made.Fields = append(made.Fields, fieldJSON(field))
	}
	for _, header := range method.Headers {
		made.Headers = append(made.Headers, placementJSON{header.Name, source(header)})
	}
	for _, param := range method.QueryParams {
		made.QueryParams = append(made.QueryParams, placementJSON{param.Name, source(param)})
	}
	if request := method.TokenRequest; request != nil {
		made.TokenRequest = &tokenRequestJSON{
			URL:                   request.URL,
			Body:                  string(request.Body),
			ClientAuthentication:  string(request.ClientAuthentication),
			Parameters:            map[string]string{},
			DefaultLifetime:       request.DefaultLifetime.String(),
			AllowPrivateAddresses: request.AllowPrivateAddresses,
			PreviousToken:         "KEPT",
		}
		if request.EndsPrevious {
			made.TokenRequest.PreviousToken = "ENDED"
		}
		for _, parameter := range request.Parameters {
			made.TokenRequest.Parameters[parameter.Name] = source(parameter)
		}
	}
	return made
}

// source is the value of a placement as the definition has it.
func source(placement catalog.Placement) string {
	text, _ := placement.Value.MarshalText() // it never fails
	return string(text)
}
