package rpc

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// Proxies are the proxies that a Service serves.
type Proxies struct {
	// Envoy enables Envoy's secret discovery service and its external authorisation over gRPC.
	Envoy bool
	// Nginx enables nginx's auth_request over HTTP.
	Nginx bool
}

var (
	errPlainProxy = fault.New(fault.CallerUnauthenticated,
		"a proxy must call the broker over TLS or a Unix socket")
	errUnprovedProxy = fault.New(fault.CallerUnauthenticated,
		"a proxy that calls the broker over TLS must send a client certificate or a token")
)

// checkProxy returns an error if the connection of a call is not safe enough for a proxy.
func checkProxy(ctx context.Context, caller broker.Caller) error {
	switch p := peerOf(ctx); {
	case p.Address == UnixAddress:
		return nil
	case p.SecurityLevel != credentials.PrivacyAndIntegrity:
		return errPlainProxy
	case caller.Method == authentication.MethodNone:
		return errUnprovedProxy
	}
	return nil
}

// beginProxy identifies and checks the caller of a call that has begun.
func (c *call) beginProxy() (broker.Caller, error) {
	if err := c.checkHeaders(); err != nil {
		return broker.Caller{}, err
	}
	caller, err := c.identify(1)
	if err == nil {
		err = checkProxy(c.ctx, caller)
	}
	return caller, err
}

// refusal is what the client of a proxy gets if the broker has no material for its request.
type refusal struct {
	status int
	header map[string]string // the reason of the error and, if there is one, the delay before a retry
	text   string            // for people
}

// toRefusal converts a status error.
func toRefusal(err error) refusal {
	from := status.Convert(err)
	made := refusal{status: http.StatusForbidden, header: map[string]string{}, text: "authmaterial: " + from.Message() + "\n"}
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			made.header[reasonTrailer] = detail.GetReason()
		case *errdetails.RetryInfo:
			seconds := math.Ceil(detail.GetRetryDelay().AsDuration().Seconds())
			made.header["retry-after"] = strconv.FormatInt(int64(seconds), 10)
		}
	}
	switch from.Code() {
	case codes.Unauthenticated:
		made.status = http.StatusUnauthorized
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Canceled:
		made.status = http.StatusServiceUnavailable
	case codes.Internal, codes.Unknown:
		made.status = http.StatusInternalServerError
	default: // a denial, or a mistake in the proxy's configuration
	}
	return made
}

// otherSpellings returns the keys of those parameters in a query that have the given name, but do
// not spell it as url.QueryEscape does. The keys are encoded as in the query.
func otherSpellings(rawQuery, name string) []string {
	var found []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if hasName(pair, name) && key != url.QueryEscape(name) && !slices.Contains(found, key) {
			found = append(found, key)
		}
	}
	return found
}

// replaceParams returns a query in which the material's parameters replace all parameters with the
// same names. The other parameters keep their order and their encoding.
func replaceParams(rawQuery string, d *broker.Decoration) string {
	params := d.Material.QueryParams
	if len(params) == 0 {
		return rawQuery
	}
	var pairs []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		replaced := false
		for _, param := range params {
			replaced = replaced || hasName(pair, param.Name)
		}
		if pair != "" && !replaced {
			pairs = append(pairs, pair)
		}
	}
	for _, param := range params {
		pairs = append(pairs, url.QueryEscape(param.Name)+"="+url.QueryEscape(param.Value.Reveal()))
	}
	return strings.Join(pairs, "&")
}

func hasName(pair, name string) bool {
	key, _, _ := strings.Cut(pair, "=")
	decoded, err := url.QueryUnescape(key)
	return err == nil && decoded == name
}
