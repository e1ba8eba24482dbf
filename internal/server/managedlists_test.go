package server_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// list returns the IDs on all pages of a list, and the page tokens.
func (m managing) list(caller string, request *authmaterialv1.ListCredentialsRequest) (ids, tokens []string) {
	m.Helper()
	for {
		page, err := m.credentials.ListCredentials(m.as(caller), request)
		if err != nil {
			m.Fatalf("ListCredentials, called as %s, fails: %v", caller, err)
		}
		for _, credential := range page.GetCredentials() {
			ids = append(ids, credential.GetCredentialId())
		}
		if page.GetNextPageToken() == "" {
			return ids, tokens
		}
		tokens = append(tokens, page.GetNextPageToken())
		request.PageToken = page.GetNextPageToken()
	}
}

func TestListsShowOnlyWhatMayBeViewed(t *testing.T) {
	m := servedMatrix(t)
	ofPendo := []string{hiddenThere, there, shownThere}
	for caller, want := range map[string][]string{
		"use": nil, "operate": nil, "none": nil, "view": {there, shownThere}, "manage": {there, shownThere}, "pendo": ofPendo,
		"admin": {hiddenOther, hiddenThere, there, shownThere, "token-of-mail"},
	} {
		slices.Sort(want)
		for _, size := range []int32{0, 1, 2, 1000} {
			if got, _ := m.list(caller, &authmaterialv1.ListCredentialsRequest{PageSize: size}); !slices.Equal(got, want) {
				t.Errorf("%s lists %v with pages of %d, want %v", caller, got, size, want)
			}
		}
	}
	for filter, want := range map[string][]string{
		`provider = "pulsedive"`: nil, `display_name : "hidden"`: nil, `display_name : "SHOWN"`: {shownThere}, `disabled = false`: {there, shownThere},
	} {
		if got, _ := m.list("view", &authmaterialv1.ListCredentialsRequest{Filter: filter}); !slices.Equal(got, want) {
			t.Errorf("with the filter %s, the list is %v, want %v", filter, got, want)
		}
	}
	if got, _ := m.list("view", &authmaterialv1.ListCredentialsRequest{ShowDeleted: true}); !slices.Equal(got, []string{there, shownDeleted, shownThere}) {
		t.Errorf("with deleted credentials, the list is %v", got)
	}
}

// WatchCredentialStates must send the same credentials that ListCredentials returns.
func TestStateWatchesShowOnlyWhatMayBeViewed(t *testing.T) {
	m := servedMatrix(t)
	for _, caller := range managementCallers {
		stream, err := m.credentials.WatchCredentialStates(m.as(caller), &authmaterialv1.WatchCredentialStatesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for complete := false; !complete; {
			answer, err := stream.Recv()
			if err != nil {
				t.Fatalf("a watch as %s fails: %v", caller, err)
			}
			for _, credential := range answer.GetCredentials() {
				if credential.GetDeleteTime() == nil {
					got = append(got, credential.GetCredentialId())
				}
			}
			complete = answer.GetComplete()
		}
		slices.Sort(got)
		if want, _ := m.list(caller, &authmaterialv1.ListCredentialsRequest{}); !slices.Equal(got, want) {
			t.Errorf("a watch as %s sends %v, want %v", caller, got, want)
		}
	}
}

// A page token can be used only by the caller that got it, for the same list.
func TestPageTokensAreBound(t *testing.T) {
	m := servedMatrix(t)
	list := func(caller, token, filter string, deleted bool) error {
		_, err := m.credentials.ListCredentials(m.as(caller), &authmaterialv1.ListCredentialsRequest{PageToken: token, Filter: filter, ShowDeleted: deleted})
		return err
	}
	const filter = "disabled = false"
	_, tokens := m.list("admin", &authmaterialv1.ListCredentialsRequest{PageSize: 1, Filter: filter})
	token := tokens[0]
	if err := list("admin", token, filter, false); err != nil {
		t.Errorf("the caller that got the page token cannot use it: %v", err)
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || strings.Contains(string(data), "hidden") {
		t.Errorf("a page token can be read: %q (%v)", data, err)
	}
	data[len(data)-1] ^= 1
	for name, err := range map[string]error{
		"another caller":      list("view", token, filter, false),
		"another filter":      list("admin", token, "", false),
		"deleted credentials": list("admin", token, filter, true),
		"a changed token":     list("admin", base64.RawURLEncoding.EncodeToString(data), filter, false),
		"a short token":       list("admin", "AA", filter, false),
		"events":              m.events("admin", token),
	} {
		if got := status.Convert(err); reasonOf(got) != "INVALID_REQUEST" || !strings.Contains(got.Message(), "page_token") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (m managing) events(caller, token string) error {
	m.Helper()
	_, err := m.credentials.ListCredentialEvents(m.as(caller), &authmaterialv1.ListCredentialEventsRequest{CredentialId: shownThere, PageToken: token})
	return err
}
