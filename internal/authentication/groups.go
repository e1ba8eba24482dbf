package authentication

import (
	"slices"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/authmaterial/broker/internal/access"
)

const (
	// maxGroups is the maximum number of groups that are read from a token.
	maxGroups = 100
	// maxGroupName is the maximum length of a group's name, in characters.
	maxGroupName = 256
)

// groups returns the names of the groups in a token's claims. See Groups.
func (i *Issuer) groups(claims jwt.Token) []string {
	var claim any
	if i.GroupsClaim == "" || claims.Get(i.GroupsClaim, &claim) != nil {
		return nil
	}
	return Groups(i.Name, claim)
}

// Groups returns the names of the groups in a claim, in the form of access.Caller.Groups. Groups
// after the first 100, and names that are too long or cannot be printed, are left out, so that
// grants for them have no effect. If the claim is neither a string nor a list, the caller has no
// groups.
func Groups(issuer string, claim any) []string {
	var groups []string
	list, isList := claim.([]any)
	if !isList {
		list = []any{claim}
	}
	for _, value := range list[:min(len(list), maxGroups)] {
		if name, ok := value.(string); ok && IsName(name) && utf8.RuneCountInString(name) <= maxGroupName {
			groups = append(groups, access.GroupPrefix+issuer+":"+name)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}
