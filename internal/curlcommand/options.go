package curlcommand

import (
	"errors"
	"fmt"
	"strings"
)

// options collects what matters of the options of a command.
type options struct {
	method, url         string
	head, get           bool
	headers, query      []Pair
	user                string
	hasUser, isJSON     bool
	data                []string
	form                []Pair
	file                bool // the body has the content of a file
	upload              bool
	hasURL, hasContents bool
}

func (o *options) read(args []string) error {
	for only := false; len(args) > 0; {
		first := args[0]
		args = args[1:]
		var err error
		switch {
		case first == "--" && !only:
			only = true // curl takes the remaining arguments as URLs
		case strings.HasPrefix(first, "--") && !only:
			args, err = o.set(strings.TrimPrefix(first, "--"), "", args)
		case strings.HasPrefix(first, "-") && len(first) > 1 && !only:
			args, err = o.setShort(first[1:], args)
		default:
			err = o.setURL(first)
		}
		if err != nil {
			return err
		}
	}
	if !o.hasURL {
		return errors.New("the command has no URL")
	}
	return nil
}

func (o *options) setURL(text string) error {
	if o.hasURL {
		return errors.New("the command has two URLs: leave one out, and the options of curl that are not needed")
	}
	o.url, o.hasURL = text, true
	return nil
}

// setShort applies an argument such as -sSu or -XPOST.
func (o *options) setShort(letters string, args []string) ([]string, error) {
	for i := range len(letters) {
		switch name := longNames[letters[i]]; {
		case name == "": // the option has no argument, and does not matter
		case withArgument[name]:
			return o.set(name, letters[i+1:], args)
		default:
			if _, err := o.set(name, "", nil); err != nil {
				return nil, err
			}
		}
	}
	return args, nil
}

// set applies one option. Its argument is `attached` or, if that is empty, the first of the following
// arguments.
func (o *options) set(name, attached string, following []string) ([]string, error) {
	if reason := refused[name]; reason != "" {
		return nil, fmt.Errorf("the command has curl's option --%s: %s", name, reason)
	}
	if !withArgument[name] {
		o.head = o.head || name == "head"
		o.get = o.get || name == "get"
		return following, nil
	}
	if attached == "" {
		if len(following) == 0 {
			return nil, fmt.Errorf("curl's option --%s needs an argument", name)
		}
		attached, following = following[0], following[1:]
	}
	return following, o.apply(name, attached)
}

// apply applies an option with its argument.
func (o *options) apply(name, value string) error {
	switch name {
	case "url":
		return o.setURL(value)
	case "request":
		o.method = value
	case "header":
		return o.addHeader(value)
	case "user-agent", "referer":
		o.headers = append(o.headers, Pair{name, value})
	case "cookie":
		if strings.Contains(value, "=") { // otherwise the value is the name of a file
			o.headers = append(o.headers, Pair{"Cookie", value})
		}
	case "oauth2-bearer":
		o.headers = append(o.headers, Pair{"Authorization", "Bearer " + value})
	case "user":
		o.user, o.hasUser = value, true
	case "url-query":
		o.query = append(o.query, encoded(value))
	case "data", "data-ascii", "data-binary", "data-raw", "data-urlencode", "json":
		o.addData(name, value)
	case "form", "form-string":
		o.addForm(name, value)
	case "upload-file":
		o.upload = true
	}
	return nil
}
