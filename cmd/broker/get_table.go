package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

func printDecorations(out *screen, answer answer, showSecrets bool) {
	separator := ""
	for _, result := range answer.results {
		if decoration := result.GetAuthDecoration(); decoration != nil {
			fmt.Fprint(out, separator)
			out.printRows("", decorationRows(decoration, answer.outcome, showSecrets, out.terminal))
			separator = "\n"
		}
	}
}

// decorationRows returns the table rows about a decoration. If `relative` is true, each time is
// followed by its distance from the current time.
func decorationRows(decoration *authmaterialv1.AuthDecoration, outcome string, showSecrets, relative bool) rows {
	show := masked
	if showSecrets {
		show = func(value string) string { return value }
	}
	var list rows
	list.add("credential", decoration.GetCredentialId())
	list.add("version", decoration.GetVersion())
	list.add("outcome", outcome)
	for _, header := range decoration.GetHeaders() {
		text := header.GetName() + ": " + show(header.GetValue())
		if header.GetOnlyIfAbsent() {
			text += " (only if the request has no such header)"
		}
		list.add("header", text)
	}
	for _, param := range decoration.GetQueryParams() {
		list.add("query parameter", param.GetName()+"="+show(param.GetValue()))
	}
	list.add("expires", moment(decoration.GetExpireTime(), relative))
	list.add("ask again", moment(decoration.GetRefreshTime(), relative))
	if last := decoration.GetLastRejectionTime(); last != nil {
		list.add("rejected", moment(last, relative)+", as a caller reported: check the values at the provider")
	}
	list.add("allowed host", decoration.GetAllowedHosts()...)
	list.add("rejected by", rejections(rejectionRules(decoration))...)
	return list
}

// statuses lists HTTP statuses.
func statuses(all []int) string {
	var texts []string
	for _, status := range all {
		texts = append(texts, strconv.Itoa(status))
	}
	return cmp.Or(strings.Join(texts, ", "), "no status")
}

// maskText is printed in place of every secret. The text always has the same length, so that it
// does not reveal the length of the secret.
const maskText = "********"

// masked hides a secret value, except for an authentication scheme such as Bearer.
func masked(value string) string {
	for _, scheme := range []string{"Bearer ", "Basic ", "Token "} {
		if strings.HasPrefix(value, scheme) {
			return scheme + maskText
		}
	}
	return maskText
}

func moment(at *timestamppb.Timestamp, relative bool) string {
	if at == nil {
		return "never"
	}
	text := at.AsTime().Format(time.RFC3339)
	switch left := time.Until(at.AsTime()).Round(time.Second); {
	case !relative:
		return text
	case left < 0:
		return fmt.Sprintf("%s (%s ago)", text, -left)
	default:
		return fmt.Sprintf("%s (in %s)", text, left)
	}
}
