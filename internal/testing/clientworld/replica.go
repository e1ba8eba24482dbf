package clientworld

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

const (
	startLimit      = 30 * time.Second
	grpcSocket      = "grpc"
	httpSocket      = "http"
	secretVariable  = "CLIENT_SECRET"
	keyVariable     = "BROKER_FLEET_KEY"
	configuration   = "broker.yaml"
	loadCredential  = "loaded"
	tokenEndpoint   = "/oauth/token"
	loadAPI         = "/api"
	startedCounter  = "grpc_server_started_total"
	brokerPackage   = "github.com/authmaterial/broker/cmd/broker"
	programVariable = "BROKER_PROGRAM"
)

// replica is a process of the real broker.
type replica struct {
	program     string
	folder      string
	environment []string
	process     *processtest.Process
	calls       map[string]int // of earlier processes, by method
}

// start starts the process, and waits until it serves calls.
func (r *replica) start() (err error) {
	command := exec.CommandContext(context.Background(), r.program, "serve", "--log-format", "json", "--config", r.path(configuration))
	command.Dir, command.Env = r.folder, r.environment
	r.process, err = processtest.StartServer(command, `"msg":"serving"`, startLimit)
	return err
}

// stop ends the process with a signal, after its calls were counted.
func (r *replica) stop(signal os.Signal) error {
	counts, err := r.scrape()
	if err != nil {
		return err
	}
	for method, n := range counts {
		r.calls[method] += n
	}
	if err := r.process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-r.process.Ended():
		return nil
	case <-time.After(startLimit):
		return fmt.Errorf("a broker did not end within %v after the signal %v", startLimit, signal)
	}
}

func (r *replica) path(name string) string { return filepath.Join(r.folder, name) }

func (r *replica) configure(apiHost, redis string) error {
	type object = map[string]any
	field := func(id string, secret bool) object {
		return object{"id": id, "display_name": id, "required": true, "secret": secret}
	}
	text, err := json.Marshal(object{
		"listen": object{"grpc": "unix://" + r.path(grpcSocket), "http": "unix://" + r.path(httpSocket)},
		"token_cache": object{
			"redis": object{"url": redis}, "fleet_keys": []object{{"env": keyVariable}},
			"forced_renewals": object{"limit": 100},
		},
		"providers": []object{{
			"id": loadCredential, "display_name": "Loaded", "allowed_hosts": []string{apiHost},
			"auth_methods": []object{{
				"id": "client_credentials", "display_name": "Client",
				"fields": []object{field("client_id", false), field("client_secret", true)},
				"token_request": object{
					"url": "http://" + apiHost + tokenEndpoint, "body": "JSON", "client_authentication": "REQUEST_BODY", "previous_token": "KEPT",
				},
				"headers": []object{{"name": "Authorization", "value": "Bearer ${token}"}},
			}},
		}},
		"credentials": []object{{
			"id": loadCredential, "provider": loadCredential, "auth_method": "client_credentials",
			"values": object{"client_id": object{"value": loadCredential}, "client_secret": object{"env": secretVariable}},
		}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(r.path(configuration), text, 0o600)
}

// counted returns the calls of all processes so far, by method.
func (r *replica) counted() (map[string]int, error) {
	counts, err := r.scrape()
	for method, n := range r.calls {
		counts[method] += n
	}
	return counts, err
}

// scrape reads how many calls of each method the process has received.
func (r *replica) scrape() (map[string]int, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.path(httpSocket))
		},
	}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://broker/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	counts := map[string]int{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		labels, found := strings.CutPrefix(lines.Text(), startedCounter+"{")
		if !found {
			continue
		}
		_, method, _ := strings.Cut(labels, `grpc_method="`)
		method, _, _ = strings.Cut(method, `"`)
		n, err := strconv.ParseFloat(labels[strings.LastIndex(labels, " ")+1:], 64)
		if err != nil {
			return nil, err
		}
		counts[method] += int(n)
	}
	return counts, lines.Err()
}

// buildBroker returns the path of the broker: the environment variable BROKER_PROGRAM, or a new build.
func buildBroker(ctx context.Context, folder string) (string, error) {
	if path := os.Getenv(programVariable); path != "" {
		return path, nil
	}
	path := filepath.Join(folder, "broker")
	said, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, brokerPackage).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the broker (or set %s to its path): %w\n%s", programVariable, err, said)
	}
	return path, nil
}
