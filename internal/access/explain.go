package access

// Explanation is a decision with what came close to it, for people.
type Explanation struct {
	Decision
	// ByCaller are the grants that name the caller; ByCredential those that name the
	// credential, or its provider. A grant in both lacks the action alone.
	ByCaller, ByCredential []Grant
}

// Explain is Decide, for people.
func (p *Policy) Explain(caller string, action Action, object Object) Explanation {
	e := Explanation{Decision: p.Decide(caller, action, object)}
	for _, g := range p.grants {
		if g.namesCaller(caller, new(int)) {
			e.ByCaller = append(e.ByCaller, g)
		}
		if g.namesCredential(object, new(int)) {
			e.ByCredential = append(e.ByCredential, g)
		}
	}
	return e
}
