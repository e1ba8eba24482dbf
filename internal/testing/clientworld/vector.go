package clientworld

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// vector is a test of a client. clients/vectors/README.md documents the format.
type vector struct {
	name        string
	Rules       []int  `json:"rules"`
	Description string `json:"description"`
	// Transport is how the client connects to the broker: "plaintext" (default), "tls" or "mtls".
	Transport string `json:"transport"`
	// Token is the client's first token for the broker. Default: the broker expects no token.
	Token string `json:"token"`
	Steps []step `json:"steps"`
}

// step is one step of a vector. Exactly one field but Expect is set.
type step struct {
	// What the world does.
	Serve       map[string]state    `json:"serve"`
	Set         map[string]state    `json:"set"`
	Push        map[string]state    `json:"push"`
	Answers     map[string][]answer `json:"answers"`
	Broker      string              `json:"broker"`
	EndStreams  *failure            `json:"end_streams"`
	Providers   map[string][]reply  `json:"providers"`
	Wait        *waiting            `json:"wait"`
	Settle      duration            `json:"settle"`
	ExpectCalls *expectedCalls      `json:"expect_calls"`
	Rotate      *rotation           `json:"rotate"`

	// What the client does.
	New     *struct{}  `json:"new"`
	Clock   duration   `json:"clock"`
	Request *requestOp `json:"request"`
	Apply   *applyOp   `json:"apply"`
	Fork    *requestOp `json:"fork"`
	Texts   *struct{}  `json:"texts"`
	Close   *struct{}  `json:"close"`
	Expect  *expected  `json:"expect"`
}

// state is what the broker answers for a credential: a decoration or an error. Times are offsets to
// the beginning of the vector.
type state struct {
	Version  string   `json:"version"`
	Headers  []pair   `json:"headers"` // default: Authorization: Bearer secret-VERSION, without Query
	IfAbsent []pair   `json:"headers_if_absent"`
	Query    []pair   `json:"query"`    // default: none
	Expires  duration `json:"expires"`  // default: never
	Refresh  duration `json:"refresh"`  // default: +300s
	Hosts    []string `json:"hosts"`    // default: {api}
	Rejected []int32  `json:"rejected"` // default: 401
	// RejectedWhen has conditions in the JSON format of Protocol Buffers.
	RejectedWhen []condition `json:"rejected_when"`
	Error        *failure    `json:"error"`
}

// failure is an error of the broker.
type failure struct {
	Reason string   `json:"reason"` // "" for an error of gRPC itself
	Code   string   `json:"code"`   // default: the code of the reason
	Retry  duration `json:"retry"`
}

// answer is a scripted answer of the broker to the next call of one kind.
type answer struct {
	Count   int      `json:"count"`  // how many calls get the answer; default: 1
	Gather  int      `json:"gather"` // answer once so many calls of the kind wait for their answer
	Delay   duration `json:"delay"`
	Held    bool     `json:"held"` // answer after the next step "answers"
	Error   *failure `json:"error"`
	State   *state   `json:"state"`    // for report, of the credential pendo
	Outcome string   `json:"outcome"`  // for report
	NoPush  bool     `json:"no_push"`  // for report: the new state is not pushed to streams
	NoServe bool     `json:"no_serve"` // for report: calls and new streams still get the old state
}

// reply is a scripted answer of a provider.
type reply struct {
	Count    int              `json:"count"`
	HangUp   bool             `json:"hang_up"` // close the connection without an answer
	Serve    map[string]state `json:"serve"`   // the broker serves and pushes this, before Delay
	Gather   int              `json:"gather"`  // answer once so many requests wait for their answer
	Delay    duration         `json:"delay"`
	Status   int              `json:"status"`
	Location string           `json:"location"`
	Headers  []pair           `json:"headers"`
	Body     *string          `json:"body"`
	Pad      int              `json:"pad"`    // the body has so many bytes, the last of which are spaces
	Pieces   []string         `json:"pieces"` // instead of Body: pieces of the body
	Pause    duration         `json:"pause"`  // between the pieces
	Cut      bool             `json:"cut"`    // close the connection in place of the end of the body
}

// condition is an item of rejected_when.
type condition struct {
	*authmaterialv1.RejectionCondition
}

func (c *condition) UnmarshalJSON(text []byte) error {
	c.RejectionCondition = new(authmaterialv1.RejectionCondition)
	return protojson.Unmarshal(text, c.RejectionCondition)
}

type rotation struct {
	Token       string `json:"token"`
	Certificate string `json:"certificate"`
}

type requestOp struct {
	Credential string `json:"credential,omitempty"`
	// Credentials are the credentials of several requests: request i has the i-th, and after the last
	// the first again. Default: Credential.
	Credentials     []string `json:"credentials,omitempty"`
	Method          string   `json:"method,omitempty"`
	URL             string   `json:"url,omitempty"`
	Headers         []pair   `json:"headers"`
	Body            *string  `json:"body,omitempty"`
	BodyRepeatable  *bool    `json:"body_repeatable,omitempty"`
	FollowRedirects *bool    `json:"follow_redirects,omitempty"`
	Count           int      `json:"count,omitempty"`
	Concurrency     int      `json:"concurrency,omitempty"`
}

type applyOp struct {
	URL        string `json:"url"`
	Headers    []pair `json:"headers"`
	Decoration state  `json:"decoration"`
}

type pair [2]string

// duration is a text such as "+20s" or "200ms".
type duration struct {
	time.Duration
	set bool
}

func (d *duration) UnmarshalJSON(text []byte) (err error) {
	var written string
	if err = json.Unmarshal(text, &written); err != nil {
		return err
	}
	d.Duration, err = time.ParseDuration(written)
	d.set = true
	return err
}

func parseVector(name string, text []byte) (*vector, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	v := &vector{name: name}
	if err := decoder.Decode(v); err != nil {
		return nil, fmt.Errorf("%s.json: %w", name, err)
	}
	if v.Description == "" || len(v.Rules) == 0 || len(v.Steps) == 0 {
		return nil, fmt.Errorf("%s.json: description, rules and steps are required", name)
	}
	for i := range v.Steps {
		if _, err := v.Steps[i].kind(); err != nil {
			return nil, fmt.Errorf("%s.json: step %d: %w", name, i+1, err)
		}
	}
	return v, nil
}

// kind returns the JSON name of the step's only field besides expect.
func (s *step) kind() (string, error) {
	var kinds []string
	value := reflect.ValueOf(s).Elem()
	for i := range value.NumField() {
		name := value.Type().Field(i).Tag.Get("json")
		if name != "expect" && !value.Field(i).IsZero() {
			kinds = append(kinds, name)
		}
	}
	switch len(kinds) {
	case 0:
		return "", errors.New("the step is empty")
	case 1:
		return kinds[0], nil
	default:
		return "", fmt.Errorf("a step does one thing, and this one does %s", strings.Join(kinds, " and "))
	}
}
