package catalog

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/authmaterial/broker/internal/yamlfile"
)

// maxRejectedWhen limits the size of RejectedWhen, in bytes of JSON, because each decoration
// contains these conditions.
const maxRejectedWhen = 8 << 10

// MayReject reports whether an answer with this HTTP status can mean that the provider rejects auth
// material.
func (m *AuthMethod) MayReject(status int) bool {
	return slices.Contains(m.RejectedStatuses, status) || slices.ContainsFunc(m.RejectedWhen, func(condition Condition) bool {
		return slices.Contains(condition.Statuses, status)
	})
}

func defineRejectedWhen(list yamlfile.Value) []Condition {
	var conditions []Condition
	for _, item := range list.List(1, 10) {
		item.Mapping(conditionKeys...).Requires("statuses")
		condition := defineCondition(item)
		isGood := func(status int) bool { return status < http.StatusBadRequest }
		if slices.ContainsFunc(condition.Statuses, isGood) && len(condition.Headers)+len(condition.JSON) == 0 {
			item.Get("statuses").Problemf("a status below 400 needs headers or json too, because most answers with this status are no rejections")
		}
		conditions = append(conditions, condition)
	}
	if text, err := json.Marshal(conditions); err != nil || len(text) > maxRejectedWhen {
		list.Problemf("must have at most 8 KiB")
	}
	return conditions
}
