package simulator

import (
	"net/http"
	"sync"
)

// pendoDefaultHost is the host of the region in which every simulator has an integration key.
const pendoDefaultHost = "app.pendo.io"

func pendoHosts() []string {
	return []string{pendoDefaultHost, "us1.app.pendo.io", "app.eu.pendo.io", "app.jpn.pendo.io", "app.au.pendo.io"}
}

// Pendo simulates Pendo's API on the hosts of its regions: app.pendo.io, us1.app.pendo.io,
// app.eu.pendo.io, app.jpn.pendo.io and app.au.pendo.io.
//
// The simulator serves only the API call GET /api/v1/token/verify. If the request's header
// x-pendo-integration-key contains a key of the host's region, the answer has status 200 and the
// body {"valid":true,"writeAccess":false}. The answer to every other request has status 403 and an
// empty body, so a client cannot tell a key of another region from a wrong key. Authors of public
// client libraries report that the real Pendo behaves like this.
type Pendo struct {
	*API

	key      string
	simulate func(pattern string, handler http.Handler)
	keep     func(secret string) string

	mutex sync.Mutex
	hosts map[string]map[string]bool // keys by host
}

func newPendo(s *Simulator) *Pendo {
	p := &Pendo{API: new(API), simulate: s.simulate, keep: s.secrets.keep, hosts: make(map[string]map[string]bool)}
	for _, host := range pendoHosts() {
		p.addHost(host)
	}
	p.key = p.AddKey(pendoDefaultHost)
	return p
}

// Key returns the account's integration key, for app.pendo.io.
func (p *Pendo) Key() string { return p.key }

// AddKey creates an integration key for the region that a host serves, and returns it. If the
// host is not one of Pendo's five hosts, the simulator must be created with [WithHosts].
func (p *Pendo) AddKey(host string) string {
	key := p.keep(randomUUID())
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.hosts[host] == nil {
		p.addHost(host)
	}
	p.hosts[host][key] = true
	return key
}

// RemoveKey makes an integration key invalid.
func (p *Pendo) RemoveKey(key string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, keys := range p.hosts {
		delete(keys, key)
	}
}

func (p *Pendo) addHost(host string) {
	p.hosts[host] = make(map[string]bool)
	p.simulate("GET "+host+"/api/v1/token/verify", p.handler(func(r *http.Request) (answer, bool) {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		if !p.hosts[host][only(r.Header.Values("x-pendo-integration-key"))] {
			return answer{status: http.StatusForbidden}, false
		}
		return jsonAnswer(http.StatusOK, fields{"valid": true, "writeAccess": false}), true
	}))
}
