package simulator

import (
	"net/http"
	"strconv"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/jsonpath"
)

// verificationAnswer returns an answer that has the given outcome according to the list. If the list
// describes none, ok is false.
func verificationAnswer(list []catalog.VerificationAnswer, outcome catalog.Outcome) (described answer, ok bool) {
	for _, item := range list {
		for _, status := range item.Statuses {
			for _, candidate := range answersTo(item.Condition, status) {
				if item.Outcome == outcome && outcomeOf(list, candidate) == outcome {
					return candidate, true
				}
			}
		}
	}
	return answer{}, false
}

// outcomeOf returns the outcome of the first item that matches an answer.
func outcomeOf(list []catalog.VerificationAnswer, a answer) catalog.Outcome {
	for _, item := range list {
		if matches(item.Condition, a) {
			return item.Outcome
		}
	}
	return catalog.Inconclusive
}

func matches(condition catalog.Condition, a answer) bool {
	body, err := jsonpath.Decode([]byte(a.body))
	return condition.Matches(a.status, a.header, body, err == nil)
}

// answersTo returns answers that match a condition and have the given status. If the condition does not
// describe the body, one body is JSON, and another is not.
func answersTo(condition catalog.Condition, status int) (answers []answer) {
	var body any = fields{}
	for _, member := range condition.JSON {
		value := member.Value
		if member.Not {
			value = otherThan(value)
		}
		body = insert(body, member.Path, value)
	}
	if condition.JSON == nil && status >= http.StatusBadRequest {
		body = fields{"error": http.StatusText(status)}
	}
	answers = append(answers, jsonAnswer(status, body))
	if condition.JSON == nil {
		answers = append(answers, textAnswer(status, "text/plain; charset=utf-8", http.StatusText(status)+"\n"))
	}
	for i := range answers {
		for name, value := range condition.Headers {
			answers[i] = answers[i].with(name, value)
		}
	}
	return answers
}

// otherThan returns a value of the same type that differs from the given one.
func otherThan(value any) any {
	switch value := value.(type) {
	case bool:
		return !value
	case float64:
		return value + 1
	default:
		return "other"
	}
}

// maxIndex is the largest number in a path that counts as the index of a list.
const maxIndex = 20

// insert returns a JSON value that has another value at a path, and is otherwise like the value
// `within`.
func insert(within any, path jsonpath.Path, value any) any {
	if len(path) == 0 {
		return value
	}
	object, isObject := within.(fields)
	index, err := strconv.Atoi(path[0])
	if err == nil && 0 <= index && index <= maxIndex && len(object) == 0 {
		list, _ := within.([]any)
		for len(list) <= index {
			list = append(list, nil)
		}
		list[index] = insert(list[index], path[1:], value)
		return list
	}
	if !isObject {
		object = fields{}
	}
	object[path[0]] = insert(object[path[0]], path[1:], value)
	return object
}
