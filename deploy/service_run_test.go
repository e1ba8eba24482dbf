package deploy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
	"github.com/authmaterial/broker/internal/testing/processtest"
)

// cluster contains what a Kubernetes cluster gives to the broker's pod: an address for each of its
// ports, a certificate, and an issuer of tokens for service accounts.
type cluster struct {
	*broker
	grpc, http, console string
	certificate         []byte
	key                 authtest.Key
}

// serviceServes runs the container of the network service on mounted files, with Redis and
// PostgreSQL, and uses it as the kubelet, Prometheus and callers do.
func serviceServes(t *testing.T, binary string) {
	redis, database := startRedis(t), emptyDatabase(t)
	c := cluster{grpc: processtest.FreeAddress(t), http: processtest.FreeAddress(t), console: processtest.FreeAddress(t), key: authtest.NewEC("cluster")}
	c.broker = newBroker(t, binary, "redis.example:6379", redis.Addr(), "postgres.example:5432/authmaterial", database,
		":50051", port(c.grpc), ":9464", port(c.http), ":8443", port(c.console))
	c.environment = []string{"SSL_CERT_FILE=" + redis.CAFile()}
	container := serviceDeployment(t).Spec.Template.Spec.Containers[0]
	c.mountAll(t, container)
	c.run(t, append([]string{"check"}, container.Args[1:3]...))
	c.startAt(t, container.Args, container.StartupProbe.arguments(t)[1:])
	c.run(t, container.LivenessProbe.arguments(t))

	c.readyForKubelet(t, container.ReadinessProbe)
	c.givesMetrics(t, scraped(t))
	c.givesMaterial(t)
	c.showsConsole(t)
	awaitConnections(t, redis, 1)
	if denied, err := redis.Client().ACLLog(t.Context(), 10).Result(); err != nil || len(denied) > 0 {
		t.Errorf("Redis denied the commands %v (error: %v)", denied, err)
	}
}

// emptyDatabase returns the address of a PostgreSQL database, in the form HOST:PORT/DATABASE.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	location, err := url.Parse(postgrestest.Start(t).Database(t))
	must(t, err)
	return location.Host + location.Path
}

func port(address string) string { return strings.TrimPrefix(address, "127.0.0.1") }

// mountAll mounts the files of the container's volumes.
func (c *cluster) mountAll(t *testing.T, container container) {
	t.Helper()
	certificate := authtest.NewAuthority("cluster", time.Now()).
		Issue(x509.Certificate{DNSNames: []string{"authmaterial-broker", "authmaterial-broker.authmaterial.svc"}})
	certificate.Certificate = certificate.Certificate[:1] // without the certificate of the issuer
	c.certificate = authtest.CertificatePEM(certificate)
	hash := regexp.MustCompile(`[0-9a-f]{64}`).FindString(c.run(t, []string{"token", "new", "--token-file", c.prometheusToken()}))
	configuration := strings.Replace(read(t, serviceExample+"broker.yaml"), strings.Repeat("0", 64), hash, 1) + consoleSection(t)
	files := map[string]map[string]string{
		"config": {"broker.yaml": configuration, "jwks.json": string(authtest.KeySet(c.key))},
		"tls":    {"tls.crt": string(c.certificate), "tls.key": string(authtest.KeyPEM(certificate))},
		"secrets": {
			"fleet_key": c.run(t, []string{"keygen"}), "redis_username": redisUser, "redis_password": redisPassword,
			"postgres_user": postgrestest.User, "postgres_password": postgrestest.Password,
			"store_key": c.run(t, []string{"keygen"}), "sendpulse_client_secret": "s", "pendo_api_key": "one", "oidc_client_secret": "o",
		},
	}
	for _, mount := range container.VolumeMounts {
		if files[mount.Name] == nil {
			t.Fatalf("the volume %s is unknown", mount.Name)
		}
		c.mount(t, mount.MountPath, files[mount.Name])
	}
}

func (c *cluster) prometheusToken() string { return filepath.Join(c.root, "prometheus.token") }

// readyForKubelet makes the request of a probe as the kubelet does, without a check of the
// certificate.
func (c *cluster) readyForKubelet(t *testing.T, probe probe) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if code, _ := c.fetch(t, probe.HTTP.Scheme, probe.HTTP.Path, config, ""); code != http.StatusOK {
		t.Errorf("the readiness probe gets status %d", code)
	}
}

// givesMetrics checks that metrics are given to the PodMonitor, and refused without a token.
func (c *cluster) givesMetrics(t *testing.T, e endpoint) {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: e.TLS.ServerName}
	config.RootCAs.AppendCertsFromPEM(c.certificate)
	token := strings.TrimSpace(read(t, c.prometheusToken()))
	code, text := c.fetch(t, e.Scheme, e.Path, config, token)
	if code != http.StatusOK || !strings.Contains(text, "authmaterial_build_info") {
		t.Errorf("Prometheus gets status %d and %d bytes", code, len(text))
	}
	if code, _ := c.fetch(t, e.Scheme, e.Path, config, ""); code != http.StatusUnauthorized {
		t.Errorf("without a token, the broker answers %s with status %d", e.Path, code)
	}
}

// fetch makes a request to the port http.
func (c *cluster) fetch(t *testing.T, scheme, path string, config *tls.Config, token string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.ToLower(scheme)+"://"+c.http+path, nil)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, request, config)
}

// send sends a request, and returns the status and the body of the answer.
func send(t *testing.T, request *http.Request, config *tls.Config) (code int, body string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(text)
}

// showsConsole checks that an Ingress controller, which passes on the name that people type, gets the
// sign-in page of the console over HTTPS.
func (c *cluster) showsConsole(t *testing.T) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.console+"/sign-in", nil)
	must(t, err)
	request.Host = consoleHost(t)
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "authmaterial-broker"}
	config.RootCAs.AppendCertsFromPEM(c.certificate)
	if code, text := send(t, request, config); code != http.StatusOK || !strings.Contains(text, "Sign in with okta") {
		t.Errorf("the console answers with the status %d:\n%s", code, text)
	}
}

// givesMaterial calls as two service accounts, one of which has a grant.
func (c *cluster) givesMaterial(t *testing.T) {
	t.Helper()
	c.place(t, "/run", map[string]string{"ca.pem": string(c.certificate)})
	transport, err := client.TLS{CAFile: c.here.Replace("/run/ca.pem"), ServerName: "authmaterial-broker.authmaterial.svc"}.Credentials()
	must(t, err)
	for account, want := range map[string]codes.Code{"my-service": codes.OK, "other": codes.PermissionDenied} {
		c.place(t, "/run", map[string]string{account: c.key.Mint(nil, authtest.Claims{
			"iss": "https://kubernetes.default.svc.cluster.local", "aud": []string{"authmaterial-broker"},
			"sub": "system:serviceaccount:my-namespace:" + account, "exp": time.Now().Add(time.Hour).Unix(),
		})})
		connection, err := grpc.NewClient("dns:///"+c.grpc, grpc.WithTransportCredentials(transport),
			grpc.WithPerRPCCredentials(client.TokenFile(c.here.Replace("/run/"+account))))
		must(t, err)
		t.Cleanup(func() { _ = connection.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err = authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(ctx,
			&authmaterialv1.GetAuthDecorationRequest{CredentialId: "pendo"})
		if got := status.Code(err); got != want {
			t.Errorf("the service account %s gets %v, want %v", account, got, want)
		}
	}
}
