package management

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// maxExamined limits how many credentials are examined for one page.
	maxExamined = 20_000
	// maxPageSize limits the total size of the texts of a page, in bytes. A page is sent as one
	// message, and many clients accept only messages of up to 4 MiB.
	maxPageSize = 2 << 20
)

// Get returns a credential, even if it is deleted.
func (s *Service) Get(ctx context.Context, caller Caller, id string) (found *Credential, err error) {
	c := &call{caller: caller, operation: audit.GetCredential, action: access.View, id: id}
	err = s.do(ctx, c, func() error {
		found, err = s.known(caller.Config, id)
		return err
	})
	return found, err
}

// Selection selects credentials for a list.
type Selection struct {
	PageSize    int
	PageToken   string
	Filter      string
	ShowDeleted bool
	// ShowLastUse adds the LastUse of each credential, which reads the store.
	ShowLastUse bool
}

// List returns the credentials that the caller may view, sorted by ID, and the token of the next
// page, which is empty after the last page. A page may have fewer credentials than PageSize.
func (s *Service) List(ctx context.Context, caller Caller, selection Selection) (page []*Credential, next string, err error) {
	page, next, err = s.list(caller, selection)
	if err == nil && selection.ShowLastUse {
		err = s.addLastUses(ctx, page)
	}
	return page, next, err
}

func (s *Service) list(caller Caller, selection Selection) (page []*Credential, next string, err error) {
	var problems violations
	size := pageSize(selection.PageSize, &problems)
	matches, err := parseFilter(selection.Filter)
	if err != nil {
		problems.add("filter", err.Error())
	}
	bound := []string{"list", caller.Name, selection.Filter, strconv.FormatBool(selection.ShowDeleted)}
	after, ok := s.openPage(selection.PageToken, bound)
	if !ok {
		problems.add("page_token", "must be the next_page_token of a list for the same caller with the same filter")
	}
	if err := problems.err(); err != nil {
		return nil, "", err
	}
	if s.unread() {
		return nil, "", errUnread
	}
	examined, bytes, policy := 0, 0, caller.Config.Policy.Narrow(&caller.Caller, access.View)
	for id := range s.ids(caller, after) {
		if len(page) == size || bytes >= maxPageSize || examined == maxExamined {
			return page, s.sealPage(after, bound), nil
		}
		after = id
		examined++
		// The filter must not see credentials that the caller may not view.
		object := access.Object{CredentialID: id, Provider: s.providerOf(caller.Config, id)}
		if !policy.Decide(&caller.Caller, access.View, object).Allowed {
			continue
		}
		if found := s.view(caller.Config, id); found != nil && matches(found) && (selection.ShowDeleted || !found.Deleted()) {
			page = append(page, found)
			bytes += found.size()
		}
	}
	return page, "", nil
}

func pageSize(given int, problems *violations) int {
	switch {
	case given < 0 || given > maxPage:
		problems.add("page_size", "must be 1 to "+strconv.Itoa(maxPage))
	case given == 0:
		return defaultPage
	}
	return given
}

// ids returns the sorted IDs of all declared and managed credentials that come after the ID
// `after`.
func (s *Service) ids(caller Caller, after string) iter.Seq[string] {
	managed := s.snapshot.Load()
	at, found := managed.search(after)
	if found {
		at++
	}
	rest := managed.items[at:]
	return func(yield func(string) bool) {
		for declared := range caller.Config.Credentials.After(after) {
			for len(rest) > 0 && rest[0].id() < declared.ID {
				if !yield(rest[0].id()) {
					return
				}
				rest = rest[1:]
			}
			if len(rest) > 0 && rest[0].id() == declared.ID {
				rest = rest[1:]
			}
			if !yield(declared.ID) {
				return
			}
		}
		for _, i := range rest {
			if !yield(i.id()) {
				return
			}
		}
	}
}

// sealPage returns the page token of the page that begins after a credential ID or an event number.
// The page token is encrypted, because the caller may have no grant to view that credential.
func (s *Service) sealPage(after string, bound []string) string {
	sealed := s.pageCipher(bound).Seal(nil, nil, []byte(after), nil) //nolint:gosec // the cipher makes a random nonce itself
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// openPage decrypts a page token, and reports whether the token is valid.
func (s *Service) openPage(token string, bound []string) (after string, ok bool) {
	if token == "" {
		return "", true
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", false
	}
	plain, err := s.pageCipher(bound).Open(nil, nil, data, nil)
	return string(plain), err == nil
}

// pageCipher returns the cipher for the page tokens of one list. All replicas that share a store
// use the same key.
func (s *Service) pageCipher(bound []string) cipher.AEAD {
	key := secret.Digest([]byte(s.pageKey.Reveal()), bound...)
	if s.opened.Load() != nil {
		var parts []secret.Text
		for _, part := range bound {
			parts = append(parts, secret.New(part))
		}
		key = s.store().Fingerprint(parts...)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(fmt.Sprintf("management: page tokens: %v", err)) // cannot happen: both keys have 32 bytes
	}
	sealing, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(fmt.Sprintf("management: page tokens: %v", err)) // cannot happen with AES
	}
	return sealing
}

// Events returns the events of a managed credential, newest first, and the token of the next page.
func (s *Service) Events(ctx context.Context, caller Caller, id string, size int, token string) (events []*store.Event, next string, err error) {
	c := &call{caller: caller, operation: audit.ListEvents, action: access.View, id: id}
	err = s.do(ctx, c, func() error {
		var problems violations
		size = pageSize(size, &problems)
		bound := []string{"events", caller.Name, id}
		after, ok := s.openPage(token, bound)
		if !ok || after != "" && len(after) != 8 {
			problems.add("page_token", "must be the next_page_token of a list of the same events")
		}
		if err := problems.err(); err != nil {
			return err
		}
		if _, err := s.known(caller.Config, id); err != nil {
			return err
		}
		if s.options.Open == nil {
			return nil
		}
		var before int64
		if after != "" {
			before = int64(binary.BigEndian.Uint64([]byte(after))) //nolint:gosec // the number was an int64 before sealPage encrypted it
		}
		if events, err = s.store().Events(ctx, id, before, size); err != nil {
			return err
		}
		if len(events) == size {
			last := binary.BigEndian.AppendUint64(nil, uint64(events[size-1].Number)) //nolint:gosec // never negative
			next = s.sealPage(string(last), bound)
		}
		return nil
	})
	return events, next, err
}

// Explanation explains what a caller may do with a credential.
type Explanation struct {
	// Allowed are the allowed actions. For each allowed action, Grants contains the position of its
	// grant in the configuration file.
	Allowed []access.Action
	Grants  []string
	// Text is one or more sentences for people.
	Text string
}

// ExplainAccess explains which grants decide what a caller may do with a credential. A caller may
// ask about itself with a grant to view, and about others with a grant to manage.
func (s *Service) ExplainAccess(ctx context.Context, caller Caller, id, about string) (e *Explanation, err error) {
	c := &call{caller: caller, operation: audit.ExplainAccess, action: access.View, id: id}
	subject := &caller.Caller
	if about != "" && about != caller.Name {
		c.action, subject = access.Manage, access.NamedCaller(about)
	}
	err = s.do(ctx, c, func() error {
		e = explain(caller.Config.Policy, subject, access.Object{CredentialID: id, Provider: s.providerOf(caller.Config, id)})
		if problem, warning := caller.Config.CheckCaller(about); problem+warning != "" {
			doubt := cmp.Or(problem, warning)
			e.Text = strings.ToUpper(doubt[:1]) + ended(doubt[1:]) + " " + e.Text
		}
		return nil
	})
	return e, err
}

// ended returns a text with a full stop, unless it is a question.
func ended(text string) string {
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

func explain(policy *access.Policy, subject *access.Caller, object access.Object) *Explanation {
	e := &Explanation{}
	for _, action := range access.Actions() {
		if decision := policy.Decide(subject, action, object); decision.Allowed {
			source := ""
			if decision.Grant != nil {
				source = decision.Grant.Source
			}
			e.Allowed, e.Grants = append(e.Allowed, action), append(e.Grants, source)
		}
	}
	switch {
	case policy.AllowsAll():
		e.Text = "The configuration has no grants, so every caller may use every credential."
		return e
	case policy.DeniesAll():
		e.Text = "The configuration has no grants, so no caller may use a credential."
		return e
	}
	e.Text = e.sentences()
	if explained := policy.Explain(subject, access.Use, object); !explained.Allowed {
		e.Text += " Grants that name the caller: " + sources(explained.ByCaller) +
			". Grants that name the credential: " + sources(explained.ByCredential) + "."
	}
	return e
}

// sentences describes for each action which grant allows it, or that none does.
func (e *Explanation) sentences() string {
	var all []string
	byGrant, denied := map[string][]string{}, []string(nil)
	for _, action := range access.Actions() {
		at := slices.Index(e.Allowed, action)
		if at < 0 {
			denied = append(denied, string(action))
		} else {
			byGrant[e.Grants[at]] = append(byGrant[e.Grants[at]], string(action))
		}
	}
	for _, source := range e.Grants {
		if actions := byGrant[source]; actions != nil {
			all = append(all, strings.Join(actions, ", ")+": allowed by the grant at "+source+".")
			delete(byGrant, source)
		}
	}
	if denied != nil {
		all = append(all, strings.Join(denied, ", ")+": not allowed, because no grant with this action names both the caller and the credential.")
	}
	return strings.Join(all, " ")
}

func sources(grants []access.Grant) string {
	if len(grants) == 0 {
		return "none"
	}
	var all []string
	for _, grant := range grants {
		all = append(all, grant.Source)
	}
	return strings.Join(all, ", ")
}
