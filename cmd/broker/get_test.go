package main

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const host = "api.odd.test"

var all = []string{"sendpulse-oauth", "sendpulse-key", "pulsedive", "pendo", "spotdraft", "odd"}

// versions matches table rows that contain a version. Without a fleet key, each run of the broker
// has other versions.
var versions = regexp.MustCompile(`(?m)^(version +)\S+$`)

const wantTable = `credential    sendpulse-oauth
version       V
header        Authorization: Bearer ********
expires       2031-02-03T05:04:06Z
ask again     2031-02-03T05:01:36Z
allowed host  api.sendpulse.com
rejected by   401

credential       pulsedive
version          V
query parameter  key=********
expires          never
ask again        2031-02-03T04:10:06Z
allowed host     pulsedive.com
rejected by      401

credential    spotdraft
version       V
header        client-id: ********
header        client-secret: ********
header        user-email: ********
expires       never
ask again     2031-02-03T04:10:06Z
allowed host  api.in.spotdraft.com
allowed host  api.us.spotdraft.com
allowed host  api.me.spotdraft.com
allowed host  api.eu.spotdraft.com
allowed host  api.spotdraft.com
rejected by   401
`

func TestGetTable(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			startBroker(t, network, host)
			got := versions.ReplaceAllString(succeed(t, "get", "sendpulse-oauth", "pulsedive", "spotdraft"), "${1}V")
			if got != wantTable {
				t.Errorf("the table is\n%s\nwant\n%s", got, wantTable)
			}
		})
	}
}

const wantConditional = `credential    conditional
version       V
header        X-Version: ******** (only if the request has no such header)
header        Authorization: Bearer ********
expires       2031-02-03T05:04:06Z
ask again     2031-02-03T05:01:36Z
allowed host  api.odd.test
rejected by   401
rejected by   200, 202 if ok of the body is false and error.code of the body is not 7 and error.text of the body is "a\"b"
rejected by   403 if the header X-Reason is "expired"
rejected by   409 if the body is JSON
`

func TestGetTableWithConditions(t *testing.T) {
	startBroker(t, "tcp", host)
	if got := versions.ReplaceAllString(succeed(t, "get", "conditional"), "${1}V"); got != wantConditional {
		t.Errorf("the table is\n%s\nwant\n%s", got, wantConditional)
	}
	if text := succeed(t, "get", "conditional", "-o", "header"); !strings.HasPrefix(text, "X-Version: v1\nAuthorization: Bearer ") {
		t.Errorf("the headers lack X-Version")
	}
	if text := succeed(t, "get", "conditional", "-o", "curl", "--url", "https://api.odd.test/"); !strings.Contains(text, "\nheader = \"X-Version: v1\"\n") {
		t.Errorf("the curl command lacks X-Version")
	}
	response := new(authmaterialv1.GetAuthDecorationResponse)
	readJSON(t, succeed(t, "get", "conditional", "-o", "json"), response)
	decoration := response.GetAuthDecoration()
	if len(decoration.GetRejectedWhen()) != 3 || !decoration.GetHeaders()[0].GetOnlyIfAbsent() {
		t.Errorf("the JSON lacks the conditions, or only_if_absent")
	}
	const ignored = "\noutcome       NOT_REPLACEABLE: the broker ignored the report, because the provider rejects this material only with HTTP status 200, 202, 401, 403, 409\n"
	if table := succeed(t, "get", "conditional", "--report-rejection", decoration.GetVersion(), "--http-status", "400"); !strings.Contains(table, ignored) {
		t.Errorf("after a report of another status, the table is:\n%s", table)
	}
	if table := succeed(t, "get", "conditional", "--report-rejection", decoration.GetVersion(), "--http-status", "202"); !strings.Contains(table, "\noutcome       REPLACED\n") {
		t.Errorf("after a report with a status of a condition, the table is:\n%s", table)
	}
}

func TestGetMasksSecretsByDefault(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	for _, id := range all {
		if broker.secretIn(succeed(t, "get", id)) {
			t.Errorf("the table of %s shows a secret", id)
		}
		if !broker.secretIn(succeed(t, "get", id, "--show-secrets")) {
			t.Errorf("the table of %s shows no secret with --show-secrets", id)
		}
	}
	if broker.secretIn(succeed(t, append([]string{"get"}, all...)...)) {
		t.Error("the table of all credentials shows a secret")
	}
}

func TestMaskedShowsNoPartOfAValue(t *testing.T) {
	for value, want := range map[string]string{
		"Bearer abc":    "Bearer ********",
		"Basic abc":     "Basic ********",
		"abc":           "********",
		"first second":  "********",
		"Bearerabc":     "********",
		"":              "********",
		"Bearer a long": "Bearer ********",
	} {
		if got := masked(value); got != want {
			t.Errorf("a value is masked as %q, want %q", got, want)
		}
	}
}

func TestGetJSON(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	connection, err := grpc.NewClient("passthrough:///"+broker.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // an error of Close does not matter, because the responses were already read
	service := authmaterialv1.NewBrokerServiceClient(connection)
	for _, id := range all {
		want, err := service.GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		if err != nil {
			t.Fatal(err)
		}
		got := new(authmaterialv1.GetAuthDecorationResponse)
		readJSON(t, succeed(t, "get", id, "-o", "json"), got)
		if !proto.Equal(got, want) {
			t.Errorf("the JSON of %s differs from the response", id)
		}
	}

	ids := slices.Concat(all, []string{"no-such-one", "Bad ID"})
	want, err := service.BatchGetAuthDecorations(t.Context(), &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		t.Fatal(err)
	}
	stdout, _, code := invoke(t, append([]string{"get", "-o", "json"}, ids...)...)
	got := new(authmaterialv1.BatchGetAuthDecorationsResponse)
	readJSON(t, stdout, got)
	if code != exitProblem || !proto.Equal(got, want) {
		t.Errorf("the exit code is %d, want the exit code 1 and the batch response as JSON", code)
	}
}

func readJSON(t *testing.T, text string, message proto.Message) {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), message); err != nil {
		t.Fatal("the output is not the message as JSON") // the error may quote secrets
	}
}

// TestGetJSONHasEmptyLists checks that the JSON contains empty lists, on which scripts rely.
func TestGetJSONHasEmptyLists(t *testing.T) {
	startBroker(t, "tcp", host)
	if text := succeed(t, "get", "pulsedive", "-o", "json"); !strings.Contains(text, `"headers": []`) || strings.Contains(text, "expireTime") {
		t.Error("the JSON must have an empty list of headers and no expiry time")
	}
}

func TestGetReportsARejection(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	response := new(authmaterialv1.GetAuthDecorationResponse)
	readJSON(t, succeed(t, "get", "sendpulse-oauth", "-o", "json"), response)
	before := response.GetAuthDecoration().GetVersion()
	broker.sim.SendPulse.RevokeTokens()

	report := []string{"get", "sendpulse-oauth", "--report-rejection", before, "--http-status", "401"}
	first := succeed(t, report...)
	if !strings.Contains(first, "outcome       REPLACED\n") || strings.Contains(first, before) || broker.secretIn(first) {
		t.Errorf("the version was not replaced:\n%s", first)
	}
	again := new(authmaterialv1.ReportRejectionResponse)
	readJSON(t, succeed(t, append(report, "-o", "json")...), again)
	if again.GetOutcome() != authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED || again.GetAuthDecoration().GetVersion() == before {
		t.Errorf("the outcome of the second report is %v", again.GetOutcome())
	}
}

func TestGetPrintsTheOtherCredentials(t *testing.T) {
	startBroker(t, "tcp", host)
	stdout, stderr, code := invoke(t, "get", "no-such-one", "pendo", "Bad ID", "odd")
	const want = `no-such-one: CREDENTIAL_NOT_FOUND: there is no credential "no-such-one", or it is disabled
  Check the ID, and whether the credential is disabled: see 'broker credentials list'.
Bad ID: INVALID_REQUEST: the credential ID must match ^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$
  Use the IDs of credentials, at most 100 in a call.
`
	if code != exitProblem || stderr != want {
		t.Errorf("exit %d\n%s\nwant 1\n%s", code, stderr, want)
	}
	if !strings.HasPrefix(stdout, "credential    pendo\n") || !strings.Contains(stdout, "\n\ncredential       odd\n") {
		t.Errorf("the other credentials are not printed:\n%s", stdout)
	}
}

func TestGetExplainsRefusals(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	broker.sim.SendPulse.FailNextTokenRequests(1, simulator.OAuthError(401, "invalid_client"))
	wantProblem(t, []string{"get", "sendpulse-oauth"}, `^sendpulse-oauth: CREDENTIAL_REJECTED: .*\n  .*'broker status ID'.*\n$`)
	wantProblem(t, []string{"get", "no-such-one", "-o", "json"}, `^no-such-one: CREDENTIAL_NOT_FOUND: .*\n  Check the ID, .*\n$`)
	wantProblem(t, append([]string{"get"}, make([]string, 101)...), `^INVALID_REQUEST: .*\n  Use .*at most 100 in a call\.\n$`)
}

// TestGetPrintsTheRetryDelay checks the advice that is printed after a failed token request.
func TestGetPrintsTheRetryDelay(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	broker.sim.SendPulse.FailNextTokenRequests(1, simulator.CloseConnection())
	wantProblem(t, []string{"get", "sendpulse-oauth"}, `^sendpulse-oauth: PROVIDER_UNAVAILABLE: .*\n  Try again in \d+s\.\n  If this error persists: .*\n$`)
}

func TestGetWithoutABroker(t *testing.T) {
	const address = "127.0.0.1:1" // no process listens there
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	wantProblem(t, []string{"get", "pendo", "--address", address}, `^no connection to the broker on `+regexp.QuoteMeta(address)+`: .*refused.*\n  Start a broker with 'broker serve'`)
	socket := "unix://" + t.TempDir() + "/none"
	wantProblem(t, []string{"get", "pendo", "--address", socket}, `^no connection to the broker on `+regexp.QuoteMeta(socket)+`: .*no such file`)
}

// TestGetGivesUp calls a server that never answers.
func TestGetGivesUp(t *testing.T) {
	listener := newListener(t)
	wantProblem(t, []string{"get", "pendo", "--timeout", "1ms", "--address", listener.Addr().String()},
		`^the broker on \S+ has not answered within 1ms\n`)
}

// TestGetFromAnotherServer calls a gRPC server that is not a broker.
func TestGetFromAnotherServer(t *testing.T) {
	listener := newListener(t)
	other := grpc.NewServer()
	go func() { _ = other.Serve(listener) }()
	t.Cleanup(other.Stop)
	wantProblem(t, []string{"get", "pendo", "--address", listener.Addr().String()}, `^the server on \S+ is not a broker`)
}

func newListener(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// wantProblem runs a command that must exit with 1, print nothing on standard output, and print
// an explanation that matches the pattern.
func wantProblem(t *testing.T, args []string, want string) {
	t.Helper()
	stdout, stderr, code := invoke(t, args...)
	if code != exitProblem || stdout != "" || !regexp.MustCompile(want).MatchString(stderr) {
		t.Errorf("broker %q: the exit code is %d, and the output is\n%s%s\nwant the exit code 1 and the output %s", args[:2], code, stdout, stderr, want)
	}
}

func TestGetWrongUsage(t *testing.T) {
	t.Setenv(variable("address"), "")
	for line, want := range map[string]string{
		"get":                           "the ID of a credential is needed",
		"get a -o xml":                  `invalid argument "xml" for "-o, --output" flag: must be one of table, json, curl`,
		"get a --timeout 0s":            "--timeout must be more than 0s",
		"get a -o curl":                 "-o curl and --url URL must be used together",
		"get a --url https://a.test":    "-o curl and --url URL must be used together",
		"get a b -o curl --url https:x": "-o curl takes one ID",
		"get a -o curl --url a.test":    "--url must be a URL such as",
		"get a -o curl --url //a.test":  "--url must be a URL such as",
		"get a -o curl --url https://user:word@a.test/":  "--url must not contain a user name and password",
		"get a --address https://127.0.0.1:1/":           "leave out https://, as in 127.0.0.1:1; --tls turns TLS on",
		"get a --address 127.0.0.1:99999":                "the port must be a number from 0 to 65535",
		"get a --report-rejection v":                     "use --report-rejection and --http-status together: --http-status is missing",
		"get a b --report-rejection v --http-status 401": "--report-rejection takes one ID",
		"get a --report-rejection= --http-status 401":    "--report-rejection needs the version",
		"get a --address broker.test:50051":              "--address: must be a loopback address, because the connection is not encrypted; use --tls",
		"get a --address 127.0.0.1":                      "must be a host with a port",
		"get a --address unix://run/x":                   "a Unix socket needs an absolute path",
	} {
		stdout, stderr, code := invoke(t, strings.Fields(line)...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "broker: ") || !strings.Contains(stderr, want) ||
			!strings.HasSuffix(stderr, "Try 'broker get --help'.\n") {
			t.Errorf("broker %s: the exit code is %d, and the output is\n%s\nwant the exit code 2 and the output %s", line, code, stderr, want)
		}
	}
}

func TestGetAddressFromTheEnvironment(t *testing.T) {
	broker := startBroker(t, "tcp", host)
	t.Setenv(variable("address"), "broker.test:50051")
	succeed(t, "get", "pendo", "--address", broker.address)
	stdout, stderr, code := invoke(t, "get", "pendo")
	if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "broker: the environment variable BROKER_ADDRESS: must be") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
