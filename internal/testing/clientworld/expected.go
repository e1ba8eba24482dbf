package clientworld

import (
	"encoding/json"
	"fmt"
)

type waiting struct {
	Calls    map[string]int `json:"calls"`    // at least so many calls since the last expect_calls
	Watching []string       `json:"watching"` // the open streams have delivered the states of exactly these IDs
	Streams  *int           `json:"streams"`  // so many streams are open
	Within   duration       `json:"within"`   // default: 10s
}

type expectedCalls struct {
	Get    *bounds `json:"get"`
	Watch  *bounds `json:"watch"`
	Report *bounds `json:"report"`
	Usage  *bounds `json:"usage"`
	// WatchInterval is the least time between two calls of watch, on average.
	WatchInterval duration `json:"watch_interval"`
	Versions      []string `json:"versions"`    // the versions of all reports: "ID VERSION"
	Statuses      []int32  `json:"statuses"`    // the HTTP statuses of all reports
	Used          []string `json:"used"`        // the versions of all calls of ReportUsage: "ID VERSION"
	Token         string   `json:"token"`       // each call had this token
	Certificate   string   `json:"certificate"` // each call had this client certificate
}

// expected is what the outcome of a client's step must be.
type expected struct {
	Status     int            `json:"status"`
	Body       *string        `json:"body"`
	Pad        int            `json:"pad"` // the body has so many bytes, the last of which are spaces
	Error      *expectedError `json:"error"`
	Seen       []seen         `json:"seen"`
	Eventually bool           `json:"eventually"`

	// Headers are the headers of the response, or after apply those of the request.
	Headers map[string]any `json:"headers"`

	URL   string `json:"url"` // for apply: the URL, without the decoration's parameters
	Added []pair `json:"added"`
}

type expectedError struct {
	Reason string      `json:"reason"`
	Retry  *[2]float64 `json:"retry"` // bounds of the retry delay in seconds
}

// seen is a request that a provider got.
type seen struct {
	At      string         `json:"at"`      // the provider's name; default: api
	Scheme  string         `json:"scheme"`  // default: not compared
	Method  string         `json:"method"`  // default: GET
	Target  string         `json:"target"`  // default: /
	Added   []pair         `json:"added"`   // parameters that follow those in Target, in any encoding
	Headers map[string]any `json:"headers"` // a value, a list of values, or null if the header must be absent
	Body    *string        `json:"body"`
	Times   int            `json:"times"`
}

// bounds is a number, or a list of the smallest and the largest number.
type bounds struct{ least, most int }

func (b *bounds) UnmarshalJSON(text []byte) error {
	var both [2]int
	if json.Unmarshal(text, &b.least) == nil {
		b.most = b.least
		return nil
	}
	if err := json.Unmarshal(text, &both); err != nil {
		return err
	}
	b.least, b.most = both[0], both[1]
	return nil
}

func (b *bounds) String() string {
	if b.least == b.most {
		return fmt.Sprint(b.least)
	}
	return fmt.Sprintf("%d to %d", b.least, b.most)
}
