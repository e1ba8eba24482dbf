package management

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const maxFilter = 1000 // characters

var (
	textCondition = regexp.MustCompile(`^(provider|auth_method|display_name|labels\.[a-z0-9._/-]+)\s*([=:])\s*"([^"\\]*)"$`)
	boolCondition = regexp.MustCompile(`^disabled\s*=\s*(true|false)$`)
	conjunction   = regexp.MustCompile(`\s+AND\s+`)
)

// parseFilter parses a filter, which consists of conditions that are joined with AND. An empty
// filter matches every credential.
func parseFilter(text string) (matches func(*Credential) bool, err error) {
	if utf8.RuneCountInString(text) > maxFilter {
		return nil, fmt.Errorf("must have at most %d characters", maxFilter)
	}
	var conditions []func(*Credential) bool
	for _, part := range splitFilter(text) {
		condition, err := parseCondition(part)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, condition)
	}
	return func(c *Credential) bool {
		for _, holds := range conditions {
			if !holds(c) {
				return false
			}
		}
		return true
	}, nil
}

// splitFilter splits a filter at each AND that is outside quotes.
func splitFilter(text string) (parts []string) {
	begin := 0
	for _, at := range conjunction.FindAllStringIndex(text, -1) {
		if strings.Count(text[:at[0]], `"`)%2 == 0 {
			parts = append(parts, strings.TrimSpace(text[begin:at[0]]))
			begin = at[1]
		}
	}
	if rest := strings.TrimSpace(text[begin:]); rest != "" || begin > 0 {
		parts = append(parts, rest)
	}
	return parts
}

var errCondition = errors.New(`has a condition that is not understood: write provider = "ID", auth_method = "ID", ` +
	`labels.KEY = "VALUE", display_name : "PART" or disabled = true, joined with AND`)

func parseCondition(text string) (func(*Credential) bool, error) {
	if parts := boolCondition.FindStringSubmatch(text); parts != nil {
		return func(c *Credential) bool { return c.Disabled == (parts[1] == "true") }, nil
	}
	parts := textCondition.FindStringSubmatch(text)
	if parts == nil || (parts[2] == ":") != (parts[1] == "display_name") {
		return nil, errCondition
	}
	field, value := parts[1], parts[3]
	switch field {
	case "provider":
		return func(c *Credential) bool { return c.Provider == value }, nil
	case "auth_method":
		return func(c *Credential) bool { return c.AuthMethod == value }, nil
	case "display_name":
		part := strings.ToLower(value)
		return func(c *Credential) bool { return strings.Contains(strings.ToLower(c.DisplayName), part) }, nil
	}
	key := strings.TrimPrefix(field, "labels.")
	return func(c *Credential) bool { label, found := c.Labels[key]; return found && label == value }, nil
}
