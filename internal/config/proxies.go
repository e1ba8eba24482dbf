package config

import "github.com/authmaterial/broker/internal/yamlfile"

// Proxies are the proxies that may ask the broker for the material of the requests that they forward.
type Proxies struct {
	// Envoy enables Envoy's secret discovery service and its external authorisation at the gRPC
	// address.
	Envoy bool
	// Nginx enables nginx's auth_request at the HTTP address.
	Nginx bool
}

func readProxies(section yamlfile.Value, listen Listen) Proxies {
	section.Mapping("envoy", "nginx")
	proxies := Proxies{Envoy: section.Get("envoy").Bool(false), Nginx: section.Get("nginx").Bool(false)}
	check := func(enabled bool, key string, address Address) {
		switch {
		case !enabled || address.Network == "unix":
		case listen.TLS == nil:
			section.Get(key).Key().Problemf("needs listen.tls, or a Unix socket as listen.%s: a proxy gets secrets only over connections that other programs cannot read", map[string]string{"envoy": "grpc", "nginx": "http"}[key])
		case !listen.Authenticated:
			section.Get(key).Key().Problemf("needs callers that authenticate: add listen.tls.client_ca_file, authentication.jwt or authentication.tokens, or use a Unix socket")
		}
	}
	check(proxies.Envoy, "envoy", listen.GRPC)
	check(proxies.Nginx, "nginx", listen.HTTP)
	return proxies
}
