package simulator

import "net/http"

const spotDraftPath = "/api/v2.1/public/contract_types"

func spotDraftHosts() []string {
	return []string{
		"api.in.spotdraft.com", "api.us.spotdraft.com", "api.me.spotdraft.com", "api.eu.spotdraft.com",
		"api.spotdraft.com",
	}
}

// SpotDraft simulates SpotDraft's API on the hosts of its regions: api.in.spotdraft.com,
// api.us.spotdraft.com, api.me.spotdraft.com, api.eu.spotdraft.com and api.spotdraft.com.
//
// The simulator serves only the API call GET /api/v2.1/public/contract_types/. The request must
// have the headers client-id and client-secret, and may have the header user-email. On every host
// the answer has status 200 if the request names a client of the account. The answer has status 401 if
// the request names no client, as the vendor documents, or a wrong client, which the vendor does
// not document. The answer has status 403 if the header user-email does not belong to an active
// member. A request for the path without the slash at its end is redirected, with status 302, to
// the path with the slash. [Leaks] counts the requests that follow this redirect, and how many of
// these requests contain secrets.
type SpotDraft struct {
	*API

	client  Client
	clients secretSet[Client]
	email   string
	keep    func(secret string) string
}

func newSpotDraft(s *Simulator) *SpotDraft {
	p := &SpotDraft{API: new(API), email: "member-" + randomHex(4) + "@example.test", keep: s.secrets.keep}
	p.client = p.AddClient()
	contractTypes := p.handler(p.contractTypes)
	for _, host := range spotDraftHosts() {
		slashed := spotDraftPath + "/"
		redirect := answer{status: http.StatusFound}.with("Location", slashed+"?"+redirectMark+"=1")
		s.simulate("GET "+host+spotDraftPath, redirect)
		s.simulate("GET "+host+slashed+"{$}", contractTypes)
	}
	return p
}

// Client returns the first client of the account.
func (p *SpotDraft) Client() Client { return p.client }

// AddClient creates one more client, and returns it. The other clients stay valid in the simulator;
// the vendor does not document whether they stay valid.
func (p *SpotDraft) AddClient() Client {
	client := newClient()
	p.keep(client.Secret)
	return p.clients.add(client)
}

// RemoveClient makes a client invalid.
func (p *SpotDraft) RemoveClient(client Client) { p.clients.remove(client) }

// UserEmail returns the address of the only active member of the account's workspace.
func (p *SpotDraft) UserEmail() string { return p.email }

func (p *SpotDraft) contractTypes(r *http.Request) (answer, bool) {
	client := Client{ID: only(r.Header.Values("client-id")), Secret: only(r.Header.Values("client-secret"))}
	emails := r.Header.Values("user-email")
	switch {
	case !p.clients.has(client):
		return spotDraftError(http.StatusUnauthorized, "Authentication credentials were not provided."), false
	case len(emails) > 0 && only(emails) != p.email:
		return spotDraftError(http.StatusForbidden, "You do not have permission to perform this action."), false
	default:
		return jsonAnswer(http.StatusOK, fields{"results": []string{}}), true
	}
}

func spotDraftError(status int, detail string) answer {
	return jsonAnswer(status, fields{"detail": detail})
}
