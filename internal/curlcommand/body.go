package curlcommand

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// addHeader adds a header that the option --header sets. The text "NAME:" removes a header of curl's
// own, and the text "NAME;" sets an empty header.
func (o *options) addHeader(text string) error {
	if strings.HasPrefix(text, "@") {
		return errors.New("the command reads headers from a file: write the headers as arguments")
	}
	name, value, found := strings.Cut(text, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !found || value == "" {
		return nil
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return errors.New("the command has a header without a valid name: write each header as 'NAME: VALUE', as in 'X-Api-Key: KEY'")
	}
	o.headers = append(o.headers, Pair{name, value})
	return nil
}

// addData adds a part of the body. For --data-urlencode, the part becomes a parameter with its value
// encoded.
func (o *options) addData(option, value string) {
	name, _, found := strings.Cut(value, "=")
	switch {
	case option == "data-urlencode" && strings.Contains(name, "@"), option != "data-urlencode" && option != "data-raw" && strings.HasPrefix(value, "@"):
		o.file = true
	case option == "data-urlencode":
		pair := encoded(value)
		value = url.QueryEscape(pair.Value)
		if found && name != "" {
			value = name + "=" + value
		}
		o.data = append(o.data, value)
	default:
		o.isJSON = o.isJSON || option == "json"
		o.data = append(o.data, value)
	}
	o.hasContents = true
}

// encoded returns the parameter in an argument NAME=VALUE, =VALUE or VALUE whose value curl encodes.
func encoded(text string) Pair {
	name, value, found := strings.Cut(text, "=")
	if !found {
		name, value = "", text
	}
	return Pair{name, value}
}

func (o *options) addForm(option, text string) {
	name, value, _ := strings.Cut(text, "=")
	if option == "form" && (strings.HasPrefix(value, "@") || strings.HasPrefix(value, "<")) {
		value = Unknown
	}
	o.form = append(o.form, Pair{name, value})
}

// body returns the body of the request, which is empty if the option --get moves it into the query.
func (o *options) body() Body {
	text := strings.Join(o.data, "&")
	if o.isJSON {
		text = strings.Join(o.data, "")
	}
	switch {
	case o.upload || o.file && !o.get:
		return Body{Format: OtherBody}
	case o.form != nil:
		return Body{Format: MultipartBody, Form: o.form}
	case o.get || !o.hasContents:
		return Body{}
	}
	var members map[string]any
	if json.Unmarshal([]byte(text), &members) == nil && members != nil {
		return Body{Format: JSONBody, JSON: members}
	}
	form := splitQuery(text)
	if o.isJSON || form == nil || strings.ContainsAny(text[:1], "{[<\"") {
		return Body{Format: OtherBody}
	}
	return Body{Format: FormBody, Form: form}
}

// splitQuery returns the parameters of a query in their order. Parts that are not encoded correctly
// stay as they are.
func splitQuery(text string) (pairs []Pair) {
	for part := range strings.SplitSeq(text, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, Pair{decode(name), decode(value)})
	}
	return pairs
}

func decode(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
