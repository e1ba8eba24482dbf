package simulator_test

import (
	"fmt"
	"net/http"

	"github.com/authmaterial/broker/brokertest/simulator"
)

func Example() {
	sim, err := simulator.New()
	if err != nil {
		panic(err)
	}
	defer func() { _ = sim.Close() }()
	sim.SendPulse.FailNextTokenRequests(1, simulator.ServiceUnavailable("30"))

	client := &http.Client{Transport: sim.Transport()}
	for range 2 {
		response, err := client.Do(tokenRequest(sim.SendPulse.Client()))
		if err != nil {
			panic(err)
		}
		_ = response.Body.Close()
		fmt.Printf("%s, Retry-After %q\n", response.Status, response.Header.Get("Retry-After"))
	}
	fmt.Printf("%d requests, %+v\n", sim.SendPulse.TotalTokenRequests(), sim.Leaks())
	// Output:
	// 503 Service Unavailable, Retry-After "30"
	// 200 OK, Retry-After ""
	// 2 requests, {RedirectsFollowed:0 SecretsRedirected:0 CookiesReturned:0}
}
