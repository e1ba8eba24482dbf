package deploy_test

import (
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The Kustomize component with the console changes the base. `make lint-kubernetes` builds the example
// with the component.
const serviceConsole = "kubernetes/service/console/"

// consoleSection returns the section `console` that docs/deploying.md adds to broker.yaml.
func consoleSection(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile("(?s)   ```yaml(\n   console:\n.*?\n)   ```").FindStringSubmatch(read(t, "../docs/deploying.md"))
	if found == nil {
		t.Fatal("docs/deploying.md has no section `console`")
	}
	return strings.ReplaceAll(found[1], "\n   ", "\n")
}

// consoleSettings contains the part of the section `console` that must match the manifests.
type consoleSettings struct {
	Console struct{ Address, URL string }
}

func readConsole(t *testing.T) (settings consoleSettings) {
	t.Helper()
	must(t, yaml.Unmarshal([]byte(consoleSection(t)), &settings))
	return settings
}

// consoleHost returns the host that people type.
func consoleHost(t *testing.T) string {
	t.Helper()
	location, err := url.Parse(readConsole(t).Console.URL)
	must(t, err)
	return location.Host
}

// TestConsoleComponent checks that the Service and the NetworkPolicy of the console lead to the port at
// which the console listens, in the broker's pods, and that a client stays at one pod.
func TestConsoleComponent(t *testing.T) {
	base, patch := serviceDeployment(t), load[deployment](t, serviceConsole+"deployment.yaml").Spec.Template.Spec.Containers
	if len(patch) != 1 || patch[0].Name != base.Spec.Template.Spec.Containers[0].Name || len(patch[0].Ports) != 1 {
		t.Fatalf("the patch does not add one port to the broker's container: %+v", patch)
	}
	added := patch[0].Ports[0]
	if want := ":" + strconv.Itoa(added.Number); readConsole(t).Console.Address != want {
		t.Errorf("the console listens at %s, but the container's port is %s", readConsole(t).Console.Address, want)
	}
	service := load[struct {
		Spec struct {
			Selector map[string]string
			Affinity string `yaml:"sessionAffinity"`
			Ports    []struct {
				Target string `yaml:"targetPort"`
			}
		}
	}](t, serviceConsole+"service.yaml").Spec
	policy := load[networkPolicy](t, serviceConsole+"networkpolicy.yaml").Spec
	labels := base.Spec.Template.Metadata.Labels
	if !maps.Equal(service.Selector, labels) || !maps.Equal(policy.Pods.MatchLabels, labels) {
		t.Errorf("the Service and the NetworkPolicy select pods by %v and %v, but the pods have the labels %v", service.Selector, policy.Pods.MatchLabels, labels)
	}
	if len(service.Ports) != 1 || service.Ports[0].Target != added.Name || service.Affinity != "ClientIP" {
		t.Errorf("the Service does not lead each client to the port %q of one pod: %+v", added.Name, service)
	}
	if len(policy.Ingress) != 1 || len(policy.Ingress[0].From) == 0 || len(policy.Ingress[0].Ports) != 1 || policy.Ingress[0].Ports[0].Port != added.Name {
		t.Errorf("the NetworkPolicy does not limit who may connect to the port %q: %+v", added.Name, policy.Ingress)
	}
}
