package main

import (
	"github.com/authmaterial/broker/internal/catalog"
)

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
		Headers          []pairJSON        `json:"headers,omitempty"`
		QueryParams      []pairJSON        `json:"query_params,omitempty"`
	}
	fieldJSON struct {
		ID          string `json:"id"`
		DisplayName string `json:"display_name"`
		Description string `json:"description,omitempty"`
		Required    bool   `json:"required"`
		Secret      bool   `json:"secret"`
	}
	tokenRequestJSON struct {
		URL                  string            `json:"url"`
		Body                 string            `json:"body"`
		ClientAuthentication string            `json:"client_authentication"`
		Parameters           map[string]string `json:"parameters,omitempty"`
		DefaultLifetime      string            `json:"default_lifetime"`
		PreviousToken        string            `json:"previous_token"`
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
		TokenRequest:     newTokenRequestJSON(method.TokenRequest),
		Headers:          newPlacementsJSON(method.Headers),
		QueryParams:      newPlacementsJSON(method.QueryParams),
	}
	for _, field := range method.Fields {
		made.Fields = append(made.Fields, fieldJSON(field))
	}
	return made
}

func newTokenRequestJSON(request *catalog.TokenRequest) *tokenRequestJSON {
	if request == nil {
		return nil
	}
	made := &tokenRequestJSON{
		URL:                  request.URL,
		Body:                 string(request.Body),
		ClientAuthentication: string(request.ClientAuthentication),
		Parameters:           map[string]string{},
		DefaultLifetime:      request.DefaultLifetime.String(),
		PreviousToken:        "KEPT",
	}
	if request.EndsPrevious {
		made.PreviousToken = "ENDED"
	}
	for _, parameter := range newPlacementsJSON(request.Parameters) {
		made.Parameters[parameter.Name] = parameter.Value
	}
	return made
}

// newPlacementsJSON writes values as they stand in the definition.
func newPlacementsJSON(placements []catalog.Placement) []pairJSON {
	var pairs []pairJSON
	for _, placement := range placements {
		text, _ := placement.Value.MarshalText() // it never fails
		pairs = append(pairs, pairJSON{placement.Name, string(text)})
	}
	return pairs
}
