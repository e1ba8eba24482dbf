// Package curlcommand reads curl commands, as people copy them from documentation, and finds out
// which request curl would send. It runs nothing, and reads no files.
//
// No error quotes the command, because the command may contain secrets.
package curlcommand

import (
	"errors"
	"net/url"
	"strings"
)

// Pair is the name and the value of a header or a parameter.
type Pair struct{ Name, Value string }

// User is what curl sends by HTTP Basic authentication.
type User struct{ Name, Password string }

// Command is the request that a curl command sends.
//
// A variable of the shell such as $KEY stands for itself in every text, because its value is
// unknown. The output of a command in $( ) is Unknown.
type Command struct {
	Method string
	// URL has no query, no fragment and no user.
	URL *url.URL
	// NoScheme is true if the command names no scheme. URL then has the scheme https, although curl
	// would use http.
	NoScheme bool
	Query    []Pair
	Headers  []Pair
	// User is nil unless the command has the option --user, or a user in the URL.
	User *User
	Body Body
}

// Unknown is the text in place of the output of a command.
const Unknown = "$(...)"

// BodyFormat is the format of the body of a request.
type BodyFormat int

// These are the formats of a body.
const (
	NoBody        BodyFormat = iota
	FormBody                 // application/x-www-form-urlencoded
	JSONBody                 // a JSON object
	MultipartBody            // multipart/form-data
	OtherBody                // anything else, and the content of files
)

// Body is the body of a request.
type Body struct {
	Format BodyFormat
	// Form has the parameters of a FormBody or a MultipartBody.
	Form []Pair
	// JSON has the members of a JSONBody.
	JSON map[string]any
}

// Header returns the value of the first header with this name, in whatever case.
func (c *Command) Header(name string) string {
	for _, header := range c.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

// Parse reads a text for a shell, and returns its curl commands in their order. There is at least
// one.
func Parse(text string) ([]*Command, error) {
	calls, err := splitWords(text)
	if err != nil {
		return nil, err
	}
	var commands []*Command
	for _, words := range calls {
		command, err := Read(words)
		if err != nil {
			return nil, err
		}
		commands = append(commands, command)
	}
	if commands == nil {
		return nil, errors.New("the text has no curl command, such as: curl -H 'X-Api-Key: KEY' https://api.example.com/v1/me")
	}
	return commands, nil
}

// Read reads the arguments of one curl command, without the name of the program.
func Read(args []string) (*Command, error) {
	var o options
	if err := o.read(args); err != nil {
		return nil, err
	}
	return o.command()
}
