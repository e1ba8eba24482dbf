package leaktest_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// provider is an https server that gives all kinds of wrong answers to token requests.
type provider struct {
	*httptest.Server
	w *world

	mu       sync.Mutex
	requests int
}

type request struct {
	http.ResponseWriter
	gone   <-chan struct{} // closed when the client has disconnected
	id     string          // client ID
	secret string          // client secret
	echo   string          // the whole text that the client sent
	token  string          // new token for this request
}

func newProvider(w *world) *provider {
	p := &provider{w: w}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.answer))
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	p.StartTLS()
	w.Cleanup(p.Close)
	return p
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id, secret, isBasic := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if !isBasic {
		id = between(string(body), `"client_id":"`, `"`)
	}
	name, _, _ := strings.Cut(id, "/")
	p.mu.Lock()
	p.requests++
	number := p.requests
	p.mu.Unlock()
	request := request{
		ResponseWriter: w, gone: r.Context().Done(), id: id, secret: secret,
		echo:  r.Header.Get("Authorization") + " " + id + ":" + secret + " " + string(body),
		token: p.w.canary(fmt.Sprintf("token %d, of %s", number, name)),
	}
	p.w.collect(sent, []byte(request.echo))
	if misbehave := misbehaviours[name]; misbehave != nil {
		misbehave(request)
		return
	}
	request.send(http.StatusOK, `{"access_token": `+inYAML(request.token)+`, "expires_in": 3600}`)
}

func between(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}

func (r request) send(status int, body string) {
	r.WriteHeader(status)
	_, _ = io.WriteString(r, body)
}

func (r request) raw(format string, args ...any) {
	connection, _, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintf(connection, format, args...)
	_ = connection.Close()
}

func (r request) tokenOf(token, lifetime string) {
	r.send(http.StatusOK, `{"access_token": `+token+`, "expires_in": `+lifetime+`, "echo": `+inYAML(r.echo)+`}`)
}

// oneLine returns r.echo with spaces instead of line breaks, so that a header can contain it.
func (r request) oneLine() string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(r.echo) }

// misbehaviours contains the provider's wrong answers by the ID of the client that receives them.
// Each answer repeats the request, or contains an unusable token.
var misbehaviours = map[string]func(request){
	"refused": func(r request) { r.send(http.StatusUnauthorized, r.echo) },
	"refused-in-json": func(r request) {
		r.send(http.StatusBadRequest, `{"error": "invalid_client", "error_description": `+inYAML(r.echo)+`}`)
	},
	"secret-as-error":  func(r request) { r.send(http.StatusBadRequest, `{"error": `+inYAML(r.echo)+`}`) },
	"error-in-success": func(r request) { r.send(http.StatusOK, `{"error": {"message": `+inYAML(r.echo)+`}}`) },
	"forbidden-html":   func(r request) { r.send(http.StatusForbidden, "<html>"+r.echo+"</html>") },
	"limited": func(r request) {
		r.Header().Set("Retry-After", r.oneLine())
		r.send(http.StatusTooManyRequests, r.echo)
	},
	"failing": func(r request) { r.send(http.StatusInternalServerError, r.echo) },
	"unavailable": func(r request) {
		r.send(http.StatusServiceUnavailable, `{"error": "server_error", "message": `+inYAML(r.echo)+`}`)
	},
	"odd-status":   func(r request) { r.send(599, r.echo) },
	"html":         func(r request) { r.send(http.StatusOK, "<html>"+r.echo+"</html>") },
	"no-object":    func(r request) { r.send(http.StatusOK, "["+inYAML(r.echo)+"]") },
	"half":         func(r request) { r.send(http.StatusOK, `{"access_token": `+inYAML(r.token)) },
	"duplicate":    func(r request) { r.send(http.StatusOK, `{"access_token": `+inYAML(r.token)+`, "access_token": 1}`) },
	"line-break":   func(r request) { r.tokenOf(inYAML(r.token+"\n"), "3600") },
	"not-ascii":    func(r request) { r.tokenOf(inYAML("é"+r.token), "3600") },
	"nested":       func(r request) { r.tokenOf(`{"value": `+inYAML(r.token)+`}`, "3600") },
	"huge-token":   func(r request) { r.tokenOf(inYAML(strings.Repeat(r.token, 2000)), "3600") },
	"odd-lifetime": func(r request) { r.tokenOf(inYAML(r.token+"\n"), inYAML(r.token)) },
	"expired":      func(r request) { r.tokenOf(inYAML(r.token), "-1") },
	"huge":         func(r request) { r.send(http.StatusOK, strings.Repeat(r.echo, 2<<20/len(r.echo))) },
	"redirect": func(r request) {
		r.Header().Set("Location", "https://elsewhere.example.test/?"+url.QueryEscape(r.echo))
		r.send(http.StatusTemporaryRedirect, r.echo)
	},
	"odd-redirect": func(r request) {
		r.Header().Set("Location", "https://%zz/"+r.oneLine())
		r.send(http.StatusFound, r.echo)
	},
	"challenge": func(r request) {
		r.Header().Set("WWW-Authenticate", "Basic realm="+r.oneLine())
		r.send(http.StatusUnauthorized, "")
	},
	"cookie": func(r request) {
		r.Header().Set("Set-Cookie", r.oneLine())
		r.send(http.StatusBadGateway, "")
	},
	"not-gzip": func(r request) {
		r.Header().Set("Content-Encoding", "gzip")
		r.send(http.StatusOK, r.echo)
	},
	"no-http":          func(r request) { r.raw("%s\r\n\r\n", r.oneLine()) },
	"odd-version":      func(r request) { r.raw("HTTP/%s 200 OK\r\n\r\n", r.secret) },
	"odd-code":         func(r request) { r.raw("HTTP/1.1 %s OK\r\n\r\n", r.oneLine()) },
	"odd-header":       func(r request) { r.raw("HTTP/1.1 200 OK\r\n%s\r\n\r\n", r.oneLine()) },
	"odd-header-value": func(r request) { r.raw("HTTP/1.1 200 OK\r\nX: %s\x00\r\n\r\n", r.oneLine()) },
	"odd-length":       func(r request) { r.raw("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", r.oneLine()) },
	"two-lengths": func(r request) {
		r.raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: %s\r\n\r\n", r.oneLine())
	},
	"odd-encoding": func(r request) { r.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n", r.oneLine()) },
	"odd-chunk":    func(r request) { r.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n", r.oneLine()) },
	"odd-trailer": func(r request) {
		r.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: %s\r\n\r\n0\r\n\r\n", r.oneLine())
	},
	"too-short": func(r request) { r.raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n%s", r.echo) },
	"long-header": func(r request) {
		r.raw("HTTP/1.1 200 OK\r\nX: %s\r\n\r\n", strings.Repeat(r.oneLine(), 2<<20/len(r.echo)))
	},
	"more-than-one": func(r request) { r.raw("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno%s", r.echo) },
	"switching": func(r request) {
		r.raw("HTTP/1.1 101 %s\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n%s", r.oneLine(), r.echo)
	},
	"closed":  func(request) { panic(http.ErrAbortHandler) },
	"hanging": func(r request) { <-r.gone },
}

func misbehaving() []string { return slices.Sorted(maps.Keys(misbehaviours)) }
