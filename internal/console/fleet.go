package console

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// fleetView is the content of the page about the fleet.
type fleetView struct {
	*authmaterialv1.GetFleetStatusResponse

	providers []*authmaterialv1.Provider
}

// ProviderName returns the name of a provider, or its ID if the broker does not know the provider.
func (v fleetView) ProviderName(id string) string { return nameOf(v.providers, id) }

// stateCount is the number of credentials in one state.
type stateCount struct {
	Mark  mark
	Count int64
}

// States returns the states that credentials have, in the order of the enum.
func (v fleetView) States() []stateCount {
	var all []stateCount
	for _, number := range slices.Sorted(maps.Keys(authmaterialv1.CredentialState_name)) {
		name := strings.TrimPrefix(authmaterialv1.CredentialState_name[number], "CREDENTIAL_STATE_")
		if count := v.GetCredentialsByState()[name]; count > 0 {
			all = append(all, stateCount{stateOf(authmaterialv1.CredentialState(number)), count})
		}
	}
	return all
}

func (c *Console) fleet(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.GetFleetStatus(r.Context(), &authmaterialv1.GetFleetStatusRequest{})
	if err != nil {
		return err
	}
	providers, err := c.api.Providers.ListProviders(r.Context(), &authmaterialv1.ListProvidersRequest{})
	if err != nil {
		return err
	}
	c.pages.show(w, r, http.StatusOK, "fleet", page{Title: "Fleet", Section: "fleet", Body: fleetView{found, providers.GetProviders()}})
	return nil
}
