package console

import (
	"net/http"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

func (c *Console) fleet(w http.ResponseWriter, r *http.Request) error {
	found, err := c.api.GetFleetStatus(r.Context(), &authmaterialv1.GetFleetStatusRequest{})
	if err != nil {
		return err
	}
	c.pages.show(w, r, http.StatusOK, "fleet", page{Title: "Fleet", Section: "fleet", Body: found})
	return nil
}
