package strictyaml

import (
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// reportForms reports a value that fits none of several forms, or too many. When it
// has the type of one form alone, what that form lacks is reported.
func (t *translation) reportForms(failure *jsonschema.ValidationError, at *node) {
	var want []string
	var near []*jsonschema.ValidationError
	for _, form := range failure.Causes {
		if mismatch, ok := mistyped(form, len(failure.InstanceLocation)); ok {
			want = append(want, mismatch.Want...)
		} else {
			near = append(near, form)
		}
	}
	switch {
	case t.words(failure) != "" || len(failure.Causes) == 0:
		t.say(failure, at, "fits more than one of the forms that are allowed here")
	case len(near) == 0:
		t.mistyped = append(t.mistyped, at)
		t.say(failure, at, typeSentence(slices.Compact(slices.Sorted(slices.Values(want))), at))
	case len(near) == 1:
		t.report(near[0])
	default:
		t.say(failure, at, "fits none of the forms that are allowed here")
	}
}

// mistyped says whether the error is the type of the value at that depth.
func mistyped(failure *jsonschema.ValidationError, depth int) (*kind.Type, bool) {
	if _, ok := failure.ErrorKind.(*kind.Reference); ok && len(failure.Causes) == 1 {
		return mistyped(failure.Causes[0], depth)
	}
	mismatch, ok := failure.ErrorKind.(*kind.Type)
	return mismatch, ok && len(failure.InstanceLocation) == depth
}
