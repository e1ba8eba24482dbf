package curlcommand

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// command returns the request that the options describe.
func (o *options) command() (*Command, error) {
	text := o.url
	scheme, _, found := strings.Cut(text, "://")
	if !found {
		scheme, text = "https", "https://"+text
	}
	if scheme = strings.ToLower(scheme); scheme != "https" && scheme != "http" {
		return nil, errors.New("the URL must begin with https://")
	}
	target, err := url.Parse(text)
	if err != nil || target.Host == "" {
		return nil, errors.New("the URL of the command is not valid, or its host has a placeholder: write the host of one account, as in https://api.example.com/v1/me")
	}
	c := &Command{
		URL: &url.URL{Scheme: scheme, Host: target.Host, Path: target.Path, RawPath: target.RawPath}, NoScheme: !found,
		Query: append(splitQuery(target.RawQuery), o.query...), Headers: o.headers, Body: o.body(),
	}
	if user := target.User; user != nil {
		password, _ := user.Password()
		c.User = &User{user.Username(), password}
	}
	if o.hasUser {
		name, password, found := strings.Cut(o.user, ":")
		if !found { // curl would ask for the password
			password = Unknown
		}
		c.User = &User{name, password}
	}
	if o.get {
		c.Query = append(c.Query, splitQuery(strings.Join(o.data, "&"))...)
	}
	c.Method = cmp.Or(o.method, o.implied(c.Body))
	return c, nil
}

// implied returns the method that curl uses without the option --request.
func (o *options) implied(body Body) string {
	switch {
	case o.head:
		return http.MethodHead
	case o.upload:
		return http.MethodPut
	case body.Format != NoBody:
		return http.MethodPost
	}
	return http.MethodGet
}
