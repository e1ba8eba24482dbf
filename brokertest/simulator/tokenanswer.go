package simulator

import (
	"fmt"
	"net/http"

	"github.com/authmaterial/broker/internal/catalog"
)

// tokenAnswer is a successful answer to a request that obtains a token. The zero value has no values.
type tokenAnswer struct {
	header http.Header
	text   string // the body if it is not JSON
	body   any
}

func (t *tokenAnswer) put(location catalog.Location, value any) {
	if t.header == nil {
		t.header, t.body = http.Header{}, fields{}
	}
	switch text := fmt.Sprint(value); {
	case location.Body:
		t.text = text
	case location.Header != "":
		t.header.Set(location.Header, text)
	case location.Cookie != "":
		t.header.Add("Set-Cookie", (&http.Cookie{Name: location.Cookie, Value: text, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}).String())
	default:
		t.body = insert(t.body, location.Path, value)
	}
}

func (t *tokenAnswer) answer() answer {
	made := jsonAnswer(http.StatusOK, t.body)
	if t.text != "" {
		made = textAnswer(http.StatusOK, "text/plain; charset=utf-8", t.text)
	}
	for name, values := range t.header {
		made.header[name] = values
	}
	made.header.Set("Cache-Control", "no-store")
	return made
}
