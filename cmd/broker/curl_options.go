package main

import (
	"errors"
	"fmt"
	"strings"
)

// curlOption is an option of curl that `broker curl` passes on.
type curlOption struct {
	short    string // empty if there is no short form
	argument bool
}

// curlOptions lists the options that `broker curl` passes on. None of them changes where curl
// sends the material or prints the material, so every other option is rejected.
var curlOptions = map[string]curlOption{
	"compressed": {"", false}, "create-dirs": {"", false}, "fail": {"f", false},
	"fail-with-body": {"", false}, "head": {"I", false}, "http1.1": {"", false}, "http2": {"", false},
	"include": {"i", false}, "ipv4": {"4", false}, "ipv6": {"6", false}, "no-buffer": {"N", false},
	"no-progress-meter": {"", false}, "progress-bar": {"#", false}, "remote-name": {"O", false},
	"remote-time": {"R", false}, "show-error": {"S", false}, "silent": {"s", false},

	"cacert": {"", true}, "connect-timeout": {"", true}, "continue-at": {"C", true}, "cookie": {"b", true},
	"cookie-jar": {"c", true}, "data": {"d", true}, "data-ascii": {"", true}, "data-binary": {"", true},
	"data-raw": {"", true}, "data-urlencode": {"", true}, "dump-header": {"D", true}, "form": {"F", true},
	"form-string": {"", true}, "header": {"H", true}, "json": {"", true}, "limit-rate": {"", true},
	"max-filesize": {"", true}, "max-time": {"m", true}, "output": {"o", true}, "output-dir": {"", true},
	"range": {"r", true}, "referer": {"e", true}, "request": {"X", true}, "retry": {"", true},
	"retry-delay": {"", true}, "retry-max-time": {"", true}, "time-cond": {"z", true},
	"upload-file": {"T", true}, "url": {"", true}, "user-agent": {"A", true}, "write-out": {"w", true},
}

// whyNot explains why `broker curl` does not pass on some options that people may try.
var whyNot = map[string]string{
	"L": followsRedirects, "location": followsRedirects, "location-trusted": followsRedirects,
	"v": printsMaterial, "verbose": printsMaterial, "trace": printsMaterial, "trace-ascii": printsMaterial,
	"K": hasOptions, "config": hasOptions, "next": oneURL, ":": oneURL,
	"k": "the material would be sent to a server that cannot prove its name; trust its authority with --cacert",
	"G": "write the query parameters into the URL", "get": "write the query parameters into the URL",
	"u": fromBroker, "user": fromBroker, "n": fromBroker, "netrc": fromBroker, "oauth2-bearer": fromBroker,
	"x": "use the environment variable https_proxy", "proxy": "use the environment variable https_proxy",
}

const (
	followsRedirects = "a redirect can lead to another host; call the URL in the response's header Location instead"
	printsMaterial   = "it prints the material; use --include to see the response's headers"
	hasOptions       = "the file could contain other options; write them as arguments"
	oneURL           = "one command calls one URL"
	fromBroker       = "the broker supplies the material"
)

// curlArguments is a command line of curl.
type curlArguments struct {
	options []curlSetting
	url     string
}

// curlSetting is one option on a command line of curl. The name is the long one.
type curlSetting struct {
	name, value string
	argument    bool
}

// parseCurl splits a command line of curl into its options and its URL.
func parseCurl(args []string) (*curlArguments, error) {
	parsed := new(curlArguments)
	for len(args) > 0 {
		first := args[0]
		args = args[1:]
		var err error
		switch {
		case strings.HasPrefix(first, "--") && len(first) > len("--"):
			args, err = parsed.add(first, first[len("--"):], "", args)
		case strings.HasPrefix(first, "-") && len(first) > 1 && first != "--":
			args, err = parsed.addShort(first[1:], args)
		case first == "-" || first == "--":
			err = fmt.Errorf("curl's argument %q is not supported here", first)
		default:
			err = parsed.setURL(first)
		}
		if err != nil {
			return nil, err
		}
	}
	if parsed.url == "" {
		return nil, errors.New("the URL to call is needed, as in: broker curl ID -- https://api.example.com/v1/things")
	}
	return parsed, nil
}

func (c *curlArguments) setURL(text string) error {
	if c.url != "" {
		return errors.New(oneURL + ", but there are two URLs")
	}
	c.url = text
	return nil
}

// addShort adds the options of an argument such as -sSo or -XPOST.
func (c *curlArguments) addShort(letters string, args []string) ([]string, error) {
	for i := range len(letters) {
		letter, rest := letters[i:i+1], letters[i+1:]
		name := longName(letter)
		if !curlOptions[name].argument {
			if _, err := c.add("-"+letter, name, "", nil); err != nil {
				return nil, err
			}
			continue
		}
		return c.add("-"+letter, name, rest, args)
	}
	return args, nil
}

// longName returns the long name of an option, or the letter itself if it is unknown.
func longName(letter string) string {
	for name, known := range curlOptions {
		if known.short == letter {
			return name
		}
	}
	return letter
}

// add adds one option. If the option needs an argument and `attached` is empty, the argument is the
// first of the following arguments.
func (c *curlArguments) add(written, name, attached string, following []string) ([]string, error) {
	known, found := curlOptions[name]
	switch {
	case !found && whyNot[name] != "":
		return nil, fmt.Errorf("'broker curl' does not pass on %s: %s", written, whyNot[name])
	case !found:
		return nil, fmt.Errorf("'broker curl' does not pass on curl's option %s; see 'broker curl --help'", written)
	case !known.argument:
		c.options = append(c.options, curlSetting{name: name})
		return following, nil
	case attached == "" && len(following) == 0:
		return nil, fmt.Errorf("curl's option %s needs an argument", written)
	case attached == "":
		attached, following = following[0], following[1:]
	}
	if name == "url" {
		return following, c.setURL(attached)
	}
	if err := checkCurlOption(name, attached); err != nil {
		return nil, err
	}
	c.options = append(c.options, curlSetting{name, attached, true})
	return following, nil
}

// checkCurlOption rejects values that could print material or change the host.
func checkCurlOption(name, value string) error {
	switch header := headerName(value); {
	case name == "header" && strings.HasPrefix(value, "@"):
		return errors.New("'broker curl' does not pass on --header @FILE: write the headers as arguments")
	case name == "header" && strings.ContainsAny(value, "\r\n"):
		return errors.New("--header: a header has one line")
	case name == "header" && strings.EqualFold(header, "Host"):
		return errors.New("'broker curl' does not pass on the header Host: the host is that of the URL")
	case name == "write-out" && printsURL(value):
		return errors.New("'broker curl' does not pass on --write-out with a file, with URLs or with %{json}: it could print material")
	}
	return nil
}

// printsURL reports whether a value of curl's option --write-out could print the URL. curl accepts
// the names of its variables in upper and lower case.
func printsURL(value string) bool {
	lower := strings.ToLower(value)
	return strings.HasPrefix(value, "@") || strings.Contains(lower, "url") || strings.Contains(lower, "%{json}")
}

// headerName returns the name in a value of curl's option --header.
func headerName(value string) string {
	if i := strings.IndexAny(value, ":;"); i >= 0 {
		value = value[:i]
	}
	return strings.TrimSpace(value)
}

// sets reports whether an option has been given.
func (c *curlArguments) sets(name string) bool {
	for _, given := range c.options {
		if given.name == name {
			return true
		}
	}
	return false
}

// setsHeader reports whether an option sets the header of the request.
func (c *curlArguments) setsHeader(name string) bool {
	for _, given := range c.options {
		set := given.name
		if set == "header" {
			set = headerName(given.value)
		}
		if strings.EqualFold(set, name) {
			return true
		}
	}
	return false
}

// readsInput reports whether curl sends standard input.
func (c *curlArguments) readsInput() bool {
	for _, given := range c.options {
		value := given.value
		switch {
		case strings.HasPrefix(given.name, "data") && given.name != "data-raw", given.name == "json":
			if strings.HasSuffix(value, "@-") {
				return true
			}
		case given.name == "form" && (strings.Contains(value, "=@-") || strings.Contains(value, "=<-")),
			given.name == "upload-file" && (value == "-" || value == "."):
			return true
		}
		if given.argument && (strings.Contains(value, "/dev/stdin") || strings.Contains(value, "/dev/fd/")) {
			return true
		}
	}
	return false
}

// arguments returns the options as arguments of curl.
func (c *curlArguments) arguments() []string {
	var args []string
	for _, given := range c.options {
		args = append(args, "--"+given.name)
		if given.argument {
			args = append(args, given.value)
		}
	}
	return args
}
