package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// printTable prints a list for each decoration.
func printTable(out *screen, answers []answer, showSecrets bool) {
	separate := false
	for _, answer := range answers {
		if answer.decoration == nil {
			continue
		}
		if separate {
			fmt.Fprintln(out)
		}
		separate = true
		out.printRows("", decorationRows(answer, showSecrets, out.terminal))
	}
}

// decorationRows are what there is to say about a decoration. Only a person wants to
// know how far off a time is.
func decorationRows(answer answer, showSecrets, relative bool) []row {
	decoration := answer.decoration
	show := masked
	if showSecrets {
		show = func(value string) string { return value }
	}
	rows := []row{{"credential", decoration.GetCredentialId()}, {"version", decoration.GetVersion()}}
	if answer.outcome != authmaterialv1.ReportRejectionResponse_OUTCOME_UNSPECIFIED {
		rows = append(rows, row{"outcome", strings.TrimPrefix(answer.outcome.String(), "OUTCOME_")})
	}
	for _, header := range decoration.GetHeaders() {
		rows = append(rows, row{"header", header.GetName() + ": " + show(header.GetValue())})
	}
	for _, param := range decoration.GetQueryParams() {
		rows = append(rows, row{"query parameter", param.GetName() + "=" + show(param.GetValue())})
	}
	rows = append(rows,
		row{"expires", moment(decoration.GetExpireTime(), relative)},
		row{"ask again", moment(decoration.GetRefreshTime(), relative)})
	if last := decoration.GetLastRejectionTime(); last != nil {
		rows = append(rows, row{"rejected", moment(last, relative) + ", a caller reported: check these values at the provider"})
	}
	return append(append(rows, hostRows(decoration.GetAllowedHosts())...), statusRow(decoration.GetRejectedStatuses()))
}

// hostRows has a row for each of the hosts that may get the material.
func hostRows(hosts []string) []row {
	var rows []row
	for _, host := range hosts {
		rows = append(rows, row{"allowed host", host})
	}
	return rows
}

// statusRow says by which statuses a provider rejects the material.
func statusRow[T int | int32](statuses []T) row {
	var texts []string
	for _, status := range statuses {
		texts = append(texts, strconv.Itoa(int(status)))
	}
	return row{"rejected by", cmp.Or(strings.Join(texts, ", "), "no status")}
}

// maskText stands for a value, of whatever length.
const maskText = "********"

// masked hides a value, but for the name of a scheme.
func masked(value string) string {
	for _, scheme := range []string{"Bearer ", "Basic ", "Token "} {
		if strings.HasPrefix(value, scheme) {
			return scheme + maskText
		}
	}
	return maskText
}

// moment prints a time, and on demand how far off it is.
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

// The JSON of the responses, by the names that the proto's JSON has. protojson itself
// is out of bounds for messages with secrets, here too.
type (
	responseJSON struct {
		AuthDecoration *decorationJSON `json:"authDecoration"`
		Outcome        string          `json:"outcome,omitempty"`
	}
	batchJSON struct {
		Results []resultJSON `json:"results"`
	}
	resultJSON struct {
		CredentialID   string          `json:"credentialId"`
		AuthDecoration *decorationJSON `json:"authDecoration,omitempty"`
		Error          *errorJSON      `json:"error,omitempty"`
	}
	decorationJSON struct {
		CredentialID     string     `json:"credentialId"`
		Version          string     `json:"version"`
		Headers          []pairJSON `json:"headers"`
		QueryParams      []pairJSON `json:"queryParams"`
		ExpireTime       string     `json:"expireTime,omitempty"`
		RefreshTime      string     `json:"refreshTime"`
		AllowedHosts     []string   `json:"allowedHosts"`
		RejectedStatuses []int32    `json:"rejectedStatuses"`
		LastRejection    string     `json:"lastRejectionTime,omitempty"`
	}
	pairJSON struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	errorJSON struct {
		Code       uint32 `json:"code"`
		Reason     string `json:"reason"`
		Message    string `json:"message"`
		RetryDelay string `json:"retryDelay,omitempty"`
	}
)

// printJSON prints the response of which the answers are.
func printJSON(out io.Writer, answers []answer) error {
	if len(answers) == 1 && answers[0].decoration != nil {
		response := responseJSON{AuthDecoration: newDecorationJSON(answers[0].decoration)}
		if answers[0].outcome != authmaterialv1.ReportRejectionResponse_OUTCOME_UNSPECIFIED {
			response.Outcome = answers[0].outcome.String()
		}
		return encodeJSON(out, response)
	}
	batch := batchJSON{Results: make([]resultJSON, len(answers))}
	for i, answer := range answers {
		batch.Results[i] = resultJSON{CredentialID: answer.id}
		if answer.refusal != nil {
			batch.Results[i].Error = newErrorJSON(answer.refusal)
		} else {
			batch.Results[i].AuthDecoration = newDecorationJSON(answer.decoration)
		}
	}
	return encodeJSON(out, batch)
}

func newDecorationJSON(decoration *authmaterialv1.AuthDecoration) *decorationJSON {
	made := &decorationJSON{
		CredentialID:     decoration.GetCredentialId(),
		Version:          decoration.GetVersion(),
		Headers:          []pairJSON{},
		QueryParams:      []pairJSON{},
		RefreshTime:      decoration.GetRefreshTime().AsTime().Format(time.RFC3339Nano),
		AllowedHosts:     append([]string{}, decoration.GetAllowedHosts()...),
		RejectedStatuses: append([]int32{}, decoration.GetRejectedStatuses()...),
	}
	for _, header := range decoration.GetHeaders() {
		made.Headers = append(made.Headers, pairJSON{header.GetName(), header.GetValue()})
	}
	for _, param := range decoration.GetQueryParams() {
		made.QueryParams = append(made.QueryParams, pairJSON{param.GetName(), param.GetValue()})
	}
	if expiry := decoration.GetExpireTime(); expiry != nil {
		made.ExpireTime = expiry.AsTime().Format(time.RFC3339Nano)
	}
	if last := decoration.GetLastRejectionTime(); last != nil {
		made.LastRejection = last.AsTime().Format(time.RFC3339Nano)
	}
	return made
}

func newErrorJSON(refusal *refusal) *errorJSON {
	made := &errorJSON{Code: uint32(refusal.code), Reason: refusal.reason.String(), Message: refusal.message}
	if refusal.retryDelay > 0 {
		made.RetryDelay = strconv.FormatFloat(refusal.retryDelay.Seconds(), 'f', -1, 64) + "s"
	}
	return made
}

// encodeJSON prints JSON for people and programs: indented, with & as it is, and with escapes
// for all that a terminal could take for a command.
func encodeJSON(out io.Writer, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := io.WriteString(out, escapeJSON(text.String()))
	return err
}

// escapeJSON escapes what package json leaves as it is and no terminal shows. All of that is
// within strings.
func escapeJSON(text string) string {
	var escaped strings.Builder
	for _, r := range text {
		if r == '\n' || unicode.IsPrint(r) {
			escaped.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&escaped, `\u%04x`, unit)
		}
	}
	return escaped.String()
}
