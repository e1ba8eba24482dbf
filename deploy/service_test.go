package deploy_test

import (
	"maps"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// A Kustomize base and an example of an overlay run the broker as a network service. The tests read
// the base without Kustomize, because the overlay changes only names. `make lint-kubernetes` builds
// the base and the overlay.
const (
	serviceBase       = "kubernetes/service/base/"
	serviceExample    = "kubernetes/service/example/"
	servicePodMonitor = "kubernetes/service/prometheus/podmonitor.yaml"
)

// These types contain the parts of Services, PodMonitors and other manifests that must match the
// Deployment.
type (
	serviceObject struct {
		Spec struct {
			ClusterIP string `yaml:"clusterIP"`
			Selector  map[string]string
			Ports     []struct {
				Port   int
				Target string `yaml:"targetPort"`
			}
		}
	}
	disruptionBudget struct {
		Spec struct{ Selector selector }
	}
	networkPolicy struct {
		Spec struct {
			Pods    selector `yaml:"podSelector"`
			Ingress []struct {
				From  []any
				Ports []struct{ Port string }
			}
			Egress []struct{ Ports []struct{ Port int } }
		}
	}
	secretKey  struct{ Name, Key string }
	podMonitor struct {
		Spec struct {
			JobLabel  string `yaml:"jobLabel"`
			Selector  selector
			Endpoints []endpoint `yaml:"podMetricsEndpoints"`
		}
	}
	endpoint struct {
		Port, Path, Scheme string
		Authorization      struct{ Credentials secretKey }
		TLS                struct {
			CA         struct{ Secret secretKey }
			ServerName string `yaml:"serverName"`
		} `yaml:"tlsConfig"`
	}
	serviceConfiguration struct {
		Listen     struct{ GRPC, HTTP string }
		TokenCache struct{ Redis struct{ URL string } } `yaml:"token_cache"`
		Store      struct{ URL string }
	}
)

func serviceDeployment(t *testing.T) deployment {
	t.Helper()
	return load[deployment](t, serviceBase+"deployment.yaml")
}

func scraped(t *testing.T) endpoint {
	t.Helper()
	all := load[podMonitor](t, servicePodMonitor).Spec.Endpoints
	if len(all) != 1 {
		t.Fatalf("the PodMonitor has %d endpoints, want one", len(all))
	}
	return all[0]
}

func TestServiceBaseIsComplete(t *testing.T) {
	listed := load[struct{ Resources []string }](t, serviceBase+"kustomization.yaml").Resources
	files, err := filepath.Glob(serviceBase + "*.yaml")
	must(t, err)
	var want []string
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" {
			want = append(want, name)
		}
	}
	if !slices.Equal(listed, want) {
		t.Errorf("kustomization.yaml lists %q, but the folder contains %q", listed, want)
	}
}

// TestServiceSelectors checks that each selector in the manifests selects the broker's pods.
func TestServiceSelectors(t *testing.T) {
	d := serviceDeployment(t)
	selectors := map[string]map[string]string{
		"deployment.yaml":          d.Spec.Selector.MatchLabels,
		"service.yaml":             load[serviceObject](t, serviceBase+"service.yaml").Spec.Selector,
		"poddisruptionbudget.yaml": load[disruptionBudget](t, serviceBase+"poddisruptionbudget.yaml").Spec.Selector.MatchLabels,
		"networkpolicy.yaml":       load[networkPolicy](t, serviceBase+"networkpolicy.yaml").Spec.Pods.MatchLabels,
		"podmonitor.yaml":          load[podMonitor](t, servicePodMonitor).Spec.Selector.MatchLabels,
	}
	for i, spread := range d.Spec.Template.Spec.Spread {
		selectors["topologySpreadConstraints "+strconv.Itoa(i)] = spread.Selector.MatchLabels
	}
	for where, selected := range selectors {
		if !maps.Equal(selected, d.Spec.Template.Metadata.Labels) {
			t.Errorf("%s selects pods by %v, but the pods have the labels %v", where, selected, d.Spec.Template.Metadata.Labels)
		}
	}
}

// TestServicePorts checks that the broker listens at the ports that the manifests name.
func TestServicePorts(t *testing.T) {
	container := serviceDeployment(t).Spec.Template.Spec.Containers[0]
	numbers := map[string]int{}
	for _, port := range container.Ports {
		numbers[port.Name] = port.Number
	}
	service := load[serviceObject](t, serviceBase+"service.yaml").Spec
	used := []string{container.ReadinessProbe.HTTP.Port, scraped(t).Port, service.Ports[0].Target}
	for _, rule := range load[networkPolicy](t, serviceBase+"networkpolicy.yaml").Spec.Ingress {
		used = append(used, rule.Ports[0].Port)
		if len(rule.From) == 0 || len(rule.Ports) != 1 {
			t.Error("a rule of the NetworkPolicy allows every client, or does not have exactly one port")
		}
	}
	for _, name := range used {
		if numbers[name] == 0 {
			t.Errorf("the container has no port with the name %q", name)
		}
	}
	if service.Ports[0].Port != numbers["grpc"] || service.ClusterIP != "None" {
		t.Error("a headless Service cannot change the port number of its pods")
	}
	listen := load[serviceConfiguration](t, serviceExample+"broker.yaml").Listen
	for name, address := range map[string]string{"grpc": listen.GRPC, "http": listen.HTTP} {
		if want := ":" + strconv.Itoa(numbers[name]); address != want {
			t.Errorf("listen.%s is %q, want %q", name, address, want)
		}
	}
}

// TestServiceEgress checks that the NetworkPolicy allows connections to the servers that the
// configuration names.
func TestServiceEgress(t *testing.T) {
	var allowed []string
	for _, rule := range load[networkPolicy](t, serviceBase+"networkpolicy.yaml").Spec.Egress {
		for _, port := range rule.Ports {
			allowed = append(allowed, strconv.Itoa(port.Port))
		}
	}
	configuration := load[serviceConfiguration](t, serviceExample+"broker.yaml")
	for _, text := range []string{configuration.TokenCache.Redis.URL, configuration.Store.URL} {
		server, err := url.Parse(text)
		must(t, err)
		if _, port, err := net.SplitHostPort(server.Host); err != nil || !slices.Contains(allowed, port) {
			t.Errorf("the NetworkPolicy allows the ports %q, but not the port of %s", allowed, text)
		}
	}
}

// TestServiceStops checks that the kubelet waits until the broker has stopped, and that the broker
// begins to stop after clients have learned about it.
func TestServiceStops(t *testing.T) {
	spec := serviceDeployment(t).Spec.Template.Spec
	sleep := time.Duration(spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if sleep < 10*time.Second {
		t.Errorf("preStop sleeps for %v: name servers may return the address of a stopped pod", sleep)
	}
	if grace := time.Duration(spec.Grace) * time.Second; grace <= sleep+stopTime {
		t.Errorf("the pod has %v to stop, but needs %v", grace, sleep+stopTime)
	}
}

// TestAlertsAcceptThePodMonitorsJob checks that the alerts select the series of the PodMonitor.
func TestAlertsAcceptThePodMonitorsJob(t *testing.T) {
	label := load[podMonitor](t, servicePodMonitor).Spec.JobLabel
	job := serviceDeployment(t).Spec.Template.Metadata.Labels[label]
	wanted := regexp.MustCompile(`job="([^"]*)"`).FindAllStringSubmatch(read(t, "prometheus/alerts.yaml"), -1)
	if len(wanted) == 0 {
		t.Error("no alert selects a job")
	}
	for _, match := range wanted {
		if match[1] != job {
			t.Errorf("an alert selects %s, but the job of the pods is %q", match[0], job)
		}
	}
}

// TestAlertsAsPrometheusRule runs the command in docs/deploying.md that converts the alerts.
func TestAlertsAsPrometheusRule(t *testing.T) {
	command, _, found := strings.Cut(read(t, "../docs/deploying.md"), " | kubectl -n authmaterial apply -f -\n")
	if !found {
		t.Fatal("docs/deploying.md has no such command")
	}
	shell := exec.CommandContext(t.Context(), "sh", "-ec", command[strings.LastIndex(command, "{ printf"):])
	shell.Dir = ".."
	output, err := shell.Output()
	must(t, err)
	var rule struct {
		Kind string
		Spec any
	}
	must(t, yaml.Unmarshal(output, &rule))
	if want := load[any](t, "prometheus/alerts.yaml"); rule.Kind != "PrometheusRule" || !reflect.DeepEqual(rule.Spec, want) {
		t.Errorf("the command writes an object of the kind %q, want a PrometheusRule with the alerts of prometheus/alerts.yaml", rule.Kind)
	}
}

// TestServiceSecrets checks that the commands in docs/deploying.md create every Secret that the
// manifests name, with the keys that the manifests and the configuration use.
func TestServiceSecrets(t *testing.T) {
	created := documentedSecrets(t)
	spec, metrics := serviceDeployment(t).Spec.Template.Spec, scraped(t)
	want := map[string][]string{}
	add := func(secret, key string) {
		if !slices.Contains(want[secret], key) {
			want[secret] = append(want[secret], key)
		}
	}
	for _, volume := range spec.Volumes {
		if volume.Secret.Name == "" {
			continue
		}
		for _, mount := range spec.Containers[0].VolumeMounts {
			if mount.Name == volume.Name {
				for _, match := range regexp.MustCompile(mount.MountPath+`/([\w.]+)`).FindAllStringSubmatch(read(t, serviceExample+"broker.yaml"), -1) {
					add(volume.Secret.Name, match[1])
				}
			}
		}
	}
	for _, selected := range []secretKey{metrics.Authorization.Credentials, metrics.TLS.CA.Secret} {
		add(selected.Name, selected.Key)
	}
	for name, keys := range want {
		slices.Sort(keys)
		if !slices.Equal(keys, created[name]) {
			t.Errorf("docs/deploying.md creates the Secret %s with the keys %q, want %q", name, created[name], keys)
		}
	}
	if len(want) != len(created) {
		t.Errorf("docs/deploying.md creates %d Secrets, want %d", len(created), len(want))
	}
}

// documentedSecrets returns the sorted keys of each Secret that a command for the namespace
// authmaterial in docs/deploying.md creates.
func documentedSecrets(t *testing.T) map[string][]string {
	t.Helper()
	text := strings.ReplaceAll(read(t, "../docs/deploying.md"), "\\\n", " ")
	command := regexp.MustCompile(`(?m)^ *kubectl -n authmaterial create secret (generic|tls) (\S+) (.*)$`)
	key := regexp.MustCompile(`--from-(?:file|literal)=([\w.]+)`)
	secrets := map[string][]string{}
	for _, match := range command.FindAllStringSubmatch(text, -1) {
		keys := []string{"tls.crt", "tls.key"}
		if match[1] == "generic" {
			keys = nil
			for _, flag := range key.FindAllStringSubmatch(match[3], -1) {
				keys = append(keys, flag[1])
			}
		}
		slices.Sort(keys)
		secrets[match[2]] = keys
	}
	return secrets
}
