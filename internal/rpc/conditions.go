package rpc

import (
	"maps"
	"slices"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/catalog"
)

func toConditions(conditions []catalog.Condition) []*authmaterialv1.RejectionCondition {
	var messages []*authmaterialv1.RejectionCondition
	for _, condition := range conditions {
		message := &authmaterialv1.RejectionCondition{Statuses: statuses(condition.Statuses)}
		for _, name := range slices.Sorted(maps.Keys(condition.Headers)) {
			message.Headers = append(message.Headers, &authmaterialv1.HeaderCondition{Name: name, Value: condition.Headers[name]})
		}
		if condition.JSON != nil {
			message.Json = new(authmaterialv1.JsonCondition)
		}
		for _, member := range condition.JSON {
			message.Json.Members = append(message.Json.Members, toMember(member))
		}
		messages = append(messages, message)
	}
	return messages
}

func toMember(member catalog.Member) *authmaterialv1.JsonMemberCondition {
	message := &authmaterialv1.JsonMemberCondition{Path: member.Path, Negated: member.Not}
	switch value := member.Value.(type) {
	case string:
		message.Value = &authmaterialv1.JsonMemberCondition_StringValue{StringValue: value}
	case float64:
		message.Value = &authmaterialv1.JsonMemberCondition_NumberValue{NumberValue: value}
	case bool:
		message.Value = &authmaterialv1.JsonMemberCondition_BoolValue{BoolValue: value}
	}
	return message
}

func statuses(all []int) []int32 {
	made := make([]int32, len(all))
	for i, status := range all {
		made[i] = int32(status) //nolint:gosec // the conversion is safe, because a status is from 200 to 599
	}
	return made
}
