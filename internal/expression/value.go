package expression

// EvaluateValue evaluates a value that consists of maps, lists and scalars as in package
// encoding/json, in which a text is a *Template. The result has strings in place of the templates.
// Members and items that need an optional variable without a value are left out; if the value itself
// is such a template, EvaluateValue returns false.
func EvaluateValue(value any, values map[string]string) (result any, ok bool, err error) {
	switch value := value.(type) {
	case *Template:
		return value.Evaluate(values)
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, member := range value {
			evaluated, ok, err := EvaluateValue(member, values)
			if err != nil {
				return nil, false, err
			}
			if ok {
				object[name] = evaluated
			}
		}
		return object, true, nil
	case []any:
		list := make([]any, 0, len(value))
		for _, item := range value {
			evaluated, ok, err := EvaluateValue(item, values)
			if err != nil {
				return nil, false, err
			}
			if ok {
				list = append(list, evaluated)
			}
		}
		return list, true, nil
	default:
		return value, true, nil
	}
}
