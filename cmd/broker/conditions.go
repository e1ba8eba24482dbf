package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
)

// rejections lists, for people, the answers with which a provider rejects the material.
func rejections(rejected []int, conditions []catalog.Condition) []string {
	var texts []string
	if len(rejected) > 0 || len(conditions) == 0 {
		texts = append(texts, statuses(rejected))
	}
	for _, condition := range conditions {
		texts = append(texts, describe(condition))
	}
	return texts
}

// describe returns a text such as `403 if the header X-Reason is "expired" and error.code of the body
// is 190`.
func describe(condition catalog.Condition) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(condition.Headers)) {
		parts = append(parts, fmt.Sprintf("the header %s is %q", name, condition.Headers[name]))
	}
	for _, member := range condition.JSON {
		is := "is"
		if member.Not {
			is = "is not"
		}
		value := fmt.Sprint(member.Value)
		if text, ok := member.Value.(string); ok {
			value = strconv.Quote(text)
		}
		parts = append(parts, fmt.Sprintf("%s of the body %s %s", member.Path, is, value))
	}
	if condition.JSON != nil && len(condition.JSON) == 0 {
		parts = append(parts, "the body is JSON")
	}
	text := statuses(condition.Statuses)
	if parts != nil {
		text += " if " + strings.Join(parts, " and ")
	}
	return text
}

// rejectionRules returns rejected_statuses of a decoration, and rejected_when in the form of a
// definition.
func rejectionRules(decoration *authmaterialv1.AuthDecoration) (rejected []int, conditions []catalog.Condition) {
	for _, message := range decoration.GetRejectedWhen() {
		condition := catalog.Condition{Statuses: ints(message.GetStatuses()), Headers: map[string]string{}}
		for _, header := range message.GetHeaders() {
			condition.Headers[header.GetName()] = header.GetValue()
		}
		if message.GetJson() != nil {
			condition.JSON = catalog.Members{}
		}
		for _, member := range message.GetJson().GetMembers() {
			condition.JSON = append(condition.JSON, catalog.Member{Path: member.GetPath(), Value: valueOf(member), Not: member.GetNegated()})
		}
		conditions = append(conditions, condition)
	}
	return ints(decoration.GetRejectedStatuses()), conditions
}

func valueOf(member *authmaterialv1.JsonMemberCondition) any {
	switch value := member.GetValue().(type) {
	case *authmaterialv1.JsonMemberCondition_StringValue:
		return value.StringValue
	case *authmaterialv1.JsonMemberCondition_NumberValue:
		return value.NumberValue
	case *authmaterialv1.JsonMemberCondition_BoolValue:
		return value.BoolValue
	default:
		return nil
	}
}

func ints(all []int32) []int {
	made := make([]int, len(all))
	for i, one := range all {
		made[i] = int(one)
	}
	return made
}
