package console

import (
	"net/http"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func (c *Console) providers(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.Providers.ListProviders(r.Context(), &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return err
	}
	c.pages.show(w, r, http.StatusOK, "providers", page{Title: "Providers", Section: "providers", Body: found.GetProviders()})
	return nil
}

func (c *Console) provider(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.Providers.GetProvider(r.Context(), &authmaterialv1.GetProviderRequest{ProviderId: r.PathValue("provider")})
	if err != nil {
		return err
	}
	provider := found.GetProvider()
	c.pages.show(w, r, http.StatusOK, "provider", page{Title: provider.GetDisplayName(), Section: "providers", Body: provider})
	return nil
}
