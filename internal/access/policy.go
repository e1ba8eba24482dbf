package access

import "slices"

// Policy decides which callers may perform which actions. A policy denies everything that it does
// not allow explicitly, so the zero value denies everything. A Policy is immutable.
type Policy struct {
	grants         []Grant
	open           bool
	administrators []Pattern
}

// NewPolicy returns a policy with the given grants.
func NewPolicy(grants ...Grant) *Policy { return &Policy{grants: slices.Clone(grants)} }

// AllowAll returns a policy that allows every caller every action except Manage. Manage is
// allowed only to callers over a private socket, or to the administrators if there are any.
func AllowAll() *Policy { return &Policy{open: true} }

// WithAdministrators returns a copy of the policy that has administrators: callers that match one
// of the patterns. While the policy has no grants, administrators may view, manage and operate.
// If the policy has grants, the administrators have no effect.
func (p *Policy) WithAdministrators(patterns ...Pattern) *Policy {
	return &Policy{grants: p.grants, open: p.open, administrators: slices.Clone(patterns)}
}

// AllowsAll reports whether every caller may use every credential, because the policy was made by
// AllowAll.
func (p *Policy) AllowsAll() bool { return p.open }

// DeniesAll reports whether no caller may use any credential, because the policy has no grants.
func (p *Policy) DeniesAll() bool { return !p.open && len(p.grants) == 0 }

// NamesProviders reports whether decisions may depend on the provider of a credential.
func (p *Policy) NamesProviders() bool {
	return slices.ContainsFunc(p.grants, func(g Grant) bool { return len(g.Providers) > 0 })
}

// GrantsOf returns the grants that allow an action, in the order of the configuration.
func (p *Policy) GrantsOf(action Action) []Grant {
	return slices.DeleteFunc(slices.Clone(p.grants), func(g Grant) bool { return !g.Allows(action) })
}

// Decision is the result of Policy.Decide.
type Decision struct {
	Allowed bool
	// Grant is the first grant that allows the action, or nil if access is denied, or if the policy
	// has no grants.
	Grant *Grant
	// Compared is the number of comparisons of patterns and provider IDs that Decide made. If
	// access is denied, Compared is the same for every object, whether or not the credential
	// exists.
	Compared int
}

// Decide decides whether a caller may perform an action on an object, which is a credential. The
// action Operate needs no object. A caller without a name is denied, unless the policy was made by
// AllowAll. A caller that was not authenticated may manage only over a private Unix socket,
// whatever the grants are.
func (p *Policy) Decide(caller *Caller, action Action, object Object) Decision {
	switch {
	case action == Manage && caller.isUnproven():
		return Decision{}
	case len(p.grants) == 0:
		return p.decideWithoutGrants(caller, action)
	}
	var decision Decision
	for i := range p.grants {
		g := &p.grants[i]
		if g.Allows(action) && caller.matchesAny(g.Callers, &decision.Compared) &&
			(action == Operate || g.namesCredential(object, &decision.Compared)) {
			decision.Allowed, decision.Grant = true, g
			break
		}
	}
	return decision
}

// decideWithoutGrants decides for a policy that has no grants. A policy from AllowAll also lets
// every caller view and operate, because these actions reveal less than the action Use.
func (p *Policy) decideWithoutGrants(caller *Caller, action Action) Decision {
	var decision Decision
	switch action {
	case Use:
		decision.Allowed = p.open
	case View, Operate:
		decision.Allowed = p.open || caller.matchesAny(p.administrators, &decision.Compared)
	case Manage:
		decision.Allowed = p.open && len(p.administrators) == 0 && caller.PrivateSocket ||
			caller.matchesAny(p.administrators, &decision.Compared)
	}
	return decision
}

// MayCreate reports whether the caller may create credentials with at least some IDs. A grant that
// names only providers does not allow this.
func (p *Policy) MayCreate(caller *Caller) bool {
	switch {
	case caller.isUnproven():
		return false
	case len(p.grants) == 0:
		return p.decideWithoutGrants(caller, Manage).Allowed
	}
	return slices.ContainsFunc(p.grants, func(g Grant) bool {
		return g.Allows(Manage) && len(g.Credentials) > 0 && caller.Matches(g.Callers)
	})
}

// Narrow returns a policy that makes the same decisions as p for one caller and one action, with less
// work: it has only the grants that allow the action to the caller. Use it to decide about many
// credentials.
func (p *Policy) Narrow(caller *Caller, action Action) *Policy {
	if len(p.grants) == 0 {
		return p
	}
	narrow := &Policy{}
	for _, g := range p.grants {
		if g.Allows(action) && caller.Matches(g.Callers) {
			narrow.grants = append(narrow.grants, g)
		}
	}
	return narrow
}

// Explanation explains a decision to people.
type Explanation struct {
	Decision
	// ByCaller lists the grants that match the caller, and ByCredential lists the grants that match
	// the credential or its provider. A grant that is in both lists although access is denied does
	// not allow the action.
	ByCaller, ByCredential []Grant
}

// Explain makes the same decision as Decide, and explains it.
func (p *Policy) Explain(caller *Caller, action Action, object Object) Explanation {
	e := Explanation{Decision: p.Decide(caller, action, object)}
	for _, g := range p.grants {
		if caller.matchesAny(g.Callers, new(int)) {
			e.ByCaller = append(e.ByCaller, g)
		}
		if g.namesCredential(object, new(int)) {
			e.ByCredential = append(e.ByCredential, g)
		}
	}
	return e
}
