package main

import (
	"fmt"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
)

// printProvider prints what an operator needs for a credential of a provider.
func printProvider(out *screen, provider *catalog.Provider) {
	fmt.Fprintln(out, out.bold(printable(provider.DisplayName+" ("+provider.ID+")")))
	printText(out, "", provider.Description)
	out.printRows("", withLink(hostRows(provider.AllowedHosts), provider.DocumentationURL))
	for _, method := range provider.AuthMethods {
		fmt.Fprintf(out, "\n%s\n", out.bold(printable("Auth method "+method.ID+": "+method.DisplayName)))
		printMethod(out, provider, method)
	}
}

func printMethod(out *screen, provider *catalog.Provider, method *catalog.AuthMethod) {
	printText(out, "  ", method.Description)
	out.printRows("  ", withLink(methodRows(method), method.DocumentationURL))
	fmt.Fprintf(out, "\n  %s\n", out.bold("Fields"))
	for _, field := range method.Fields {
		fmt.Fprintf(out, "  %s (%s): %s\n", out.bold(field.ID), kind(field), printable(field.DisplayName))
		out.printWrapped("      ", field.Description)
	}
	fmt.Fprintf(out, "\n  %s\n%s", out.bold("For the configuration file, under 'credentials'"), snippet(provider, method))
}

// printText prints a description and a blank line, if there is one.
func printText(out *screen, indent, text string) {
	if text != "" {
		out.printWrapped(indent, text)
		fmt.Fprintln(out)
	}
}

func withLink(rows []row, link string) []row {
	if link == "" {
		return rows
	}
	return append(rows, row{"documentation", link})
}

// methodRows are what the broker does with the fields.
func methodRows(method *catalog.AuthMethod) []row {
	var rows []row
	if method.TokenRequest != nil {
		rows = append(rows, row{"token from", method.TokenRequest.URL})
	}
	for _, header := range newPlacementsJSON(method.Headers) {
		rows = append(rows, row{"header", header.Name + ": " + header.Value})
	}
	for _, param := range newPlacementsJSON(method.QueryParams) {
		rows = append(rows, row{"query parameter", param.Name + "=" + param.Value})
	}
	return append(rows, statusRow(method.RejectedStatuses))
}

// kind says what an operator has to know about a field.
func kind(field catalog.Field) string {
	kind := "optional"
	if field.Required {
		kind = "required"
	}
	if field.Secret {
		kind += ", secret"
	}
	return kind
}

// snippet is an item of `credentials`, indented as a file has it. Optional fields are
// comments.
func snippet(provider *catalog.Provider, method *catalog.AuthMethod) string {
	id := provider.ID
	if len(provider.AuthMethods) > 1 {
		id += "_" + method.ID
	}
	var required, optional strings.Builder
	for _, field := range method.Fields {
		source := fmt.Sprintf("%s: {env: %s}", field.ID, strings.ToUpper(provider.ID+"_"+field.ID))
		if field.Required {
			fmt.Fprintf(&required, "      %s\n", source)
		} else {
			fmt.Fprintf(&optional, "      # %s  # optional\n", source)
		}
	}
	values := "values:"
	if required.Len() == 0 {
		values = "values: {}"
	}
	return fmt.Sprintf("  - id: %s\n    provider: %s\n    auth_method: %s\n    %s\n%s%s",
		credentialID(id), provider.ID, method.ID, values, &required, &optional)
}

// credentialID makes a credential's ID of others: it ends in no underscore.
func credentialID(id string) string {
	return strings.Trim(strings.ReplaceAll(id, "_", "-"), "-")
}
