package deploy_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const (
	redisUser     = "authmaterial"
	redisPassword = "swordfish"
)

// startRedis starts a Redis server with TLS, and with the user that docs/operations.md describes.
func startRedis(t *testing.T) *redistest.Server {
	t.Helper()
	line := regexp.MustCompile(`(?m)^ACL SETUSER ` + redisUser + ` (.*\+eval.*)$`).FindStringSubmatch(read(t, "../docs/operations.md"))
	if line == nil {
		t.Fatal("docs/operations.md describes no user for Redis")
	}
	server := redistest.StartTLS(t)
	command := []any{"ACL", "SETUSER", redisUser}
	for word := range strings.FieldsSeq(strings.Replace(line[1], ">PASSWORD", ">"+redisPassword, 1)) {
		command = append(command, word)
	}
	must(t, server.Client().Do(t.Context(), command...).Err())
	must(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "off").Err())
	return server
}

// fleetShares runs two brokers with the same Redis and fleet key: one with the command of the systemd
// unit, and one with the command of the Kubernetes Deployment.
func fleetShares(t *testing.T, binary string) {
	redis := startRedis(t)
	open := func() *broker {
		b := newBroker(t, binary, "redis.example:6379", redis.Addr())
		b.environment = []string{"SSL_CERT_FILE=" + redis.CAFile()}
		return b
	}
	unitBroker, podBroker := open(), open()
	secrets := map[string]string{
		"fleet_key":      unitBroker.run(t, []string{"keygen"}),
		"redis_password": redisPassword + "\n",
		"pendo_api_key":  "one",
	}
	startUnit(t, unitBroker, unit(t, "systemd/fleet.conf"),
		read(t, "systemd/broker.yaml")+read(t, "systemd/token_cache.yaml"), secrets)

	secrets["redis_username"], secrets["sendpulse_client_secret"] = redisUser, "s"
	spec, configuration := manifestsWith(t, "kubernetes/sidecar/configmap-fleet.yaml")
	if _, alone := manifests(t); !strings.HasPrefix(configuration, alone) {
		t.Error("configmap-fleet.yaml differs from configmap.yaml in more than token_cache")
	}
	startPod(t, podBroker, spec, configuration, secrets)

	if one, other := unitBroker.version(t), podBroker.version(t); one != other {
		t.Errorf("the brokers share no fleet key: the same API key has the versions %s and %s", one, other)
	}
	awaitConnections(t, redis, 2)
	if denied, err := redis.Client().ACLLog(t.Context(), 10).Result(); err != nil || len(denied) > 0 {
		t.Errorf("Redis denied the commands %v (error: %v)", denied, err)
	}
}

// version returns the version of the credential pendo.
func (b *broker) version(t *testing.T) string {
	t.Helper()
	response, err := b.client(t, "/run/authmaterial/broker.sock").GetAuthDecoration(t.Context(),
		&authmaterialv1.GetAuthDecorationRequest{CredentialId: "pendo"})
	must(t, err)
	return response.GetAuthDecoration().GetVersion()
}

// awaitConnections waits until the wanted number of brokers read the stream of changes.
func awaitConnections(t *testing.T, redis *redistest.Server, want int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		clients, err := redis.Client().ClientList(t.Context()).Result()
		must(t, err)
		reading := 0
		for client := range strings.Lines(clients) {
			if strings.Contains(client, " user="+redisUser+" ") && strings.Contains(client, " cmd=xread ") {
				reading++
			}
		}
		if reading >= want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d brokers use Redis, want %d:\n%s", reading, want, clients)
		}
	}
}
