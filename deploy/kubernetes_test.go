package deploy_test

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// These types contain the parts of manifests that must match other manifests, or the broker. The
// command `validate` in deploy/kubernetes checks whether Kubernetes accepts the manifests.
type (
	deployment struct {
		Spec struct {
			Selector selector
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     pod
			}
		}
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	pod struct {
		Grace           int         `yaml:"terminationGracePeriodSeconds"`
		Token           *bool       `yaml:"automountServiceAccountToken"`
		SecurityContext security    `yaml:"securityContext"`
		InitContainers  []container `yaml:"initContainers"`
		Containers      []container
		Spread          []struct {
			Selector selector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		Volumes []struct {
			Name      string
			ConfigMap struct{ Name string } `yaml:"configMap"`
			Secret    struct {
				Name        string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
			}
		}
	}
	container struct {
		Name          string
		RestartPolicy string `yaml:"restartPolicy"`
		Command, Args []string
		Env           []struct {
			Name, Value string
			From        any `yaml:"valueFrom"`
		}
		EnvFrom []any `yaml:"envFrom"`
		Ports   []struct {
			Name   string
			Number int `yaml:"containerPort"`
		}
		StartupProbe   probe `yaml:"startupProbe"`
		LivenessProbe  probe `yaml:"livenessProbe"`
		ReadinessProbe probe `yaml:"readinessProbe"`
		Lifecycle      struct {
			PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
		}
		SecurityContext security `yaml:"securityContext"`
		VolumeMounts    []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			SubPath   string `yaml:"subPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		Exec struct{ Command []string }
		HTTP struct{ Path, Port, Scheme string } `yaml:"httpGet"`
	}
	security struct {
		NonRoot    bool                    `yaml:"runAsNonRoot"`
		User       int                     `yaml:"runAsUser"`
		Group      int                     `yaml:"fsGroup"`
		Escalation *bool                   `yaml:"allowPrivilegeEscalation"`
		ReadOnly   bool                    `yaml:"readOnlyRootFilesystem"`
		Drop       struct{ Drop []string } `yaml:"capabilities"`
		Seccomp    struct{ Type string }   `yaml:"seccompProfile"`
	}
)

func manifests(t *testing.T) (spec pod, configuration string) {
	t.Helper()
	return manifestsWith(t, "kubernetes/sidecar/configmap.yaml")
}

// load reads a manifest.
func load[T any](t *testing.T, path string) (object T) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), &object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return object
}

// manifestsWith returns the pod with the sidecar, and the broker's configuration from a ConfigMap.
func manifestsWith(t *testing.T, configMap string) (spec pod, configuration string) {
	t.Helper()
	c := load[struct {
		Metadata struct{ Name string }
		Data     map[string]string
	}](t, configMap)
	spec = load[deployment](t, "kubernetes/sidecar/deployment.yaml").Spec.Template.Spec
	for _, volume := range spec.Volumes {
		if volume.Name == "config" && volume.ConfigMap.Name != c.Metadata.Name {
			t.Errorf("the pod mounts the ConfigMap %q, but the manifest's ConfigMap is named %q", volume.ConfigMap.Name, c.Metadata.Name)
		}
	}
	return spec, c.Data["broker.yaml"]
}

// pods returns the pod with the sidecar, and the pod of the network service.
func pods(t *testing.T) []pod {
	t.Helper()
	sidecar, _ := manifests(t)
	return []pod{sidecar, serviceDeployment(t).Spec.Template.Spec}
}

func TestPodsMayLittle(t *testing.T) {
	for _, spec := range pods(t) {
		mayLittle(t, spec)
	}
}

func mayLittle(t *testing.T, spec pod) {
	t.Helper()
	if !spec.SecurityContext.NonRoot || spec.SecurityContext.Seccomp.Type != "RuntimeDefault" || spec.Token == nil || *spec.Token {
		t.Error("the pod may run as root, has no seccomp profile, or has a token of its service account")
	}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		s := c.SecurityContext
		if s.User == 0 || s.Escalation == nil || *s.Escalation || !s.ReadOnly || strings.Join(s.Drop.Drop, "") != "ALL" {
			t.Errorf("the container %s has unnecessary permissions", c.Name)
		}
	}
}

// TestSecretsAreTheBrokers checks that the secrets of the pods are files that only the broker's
// container mounts.
func TestSecretsAreTheBrokers(t *testing.T) {
	for _, spec := range pods(t) {
		secretsAreTheBrokers(t, spec)
	}
}

func secretsAreTheBrokers(t *testing.T, spec pod) {
	t.Helper()
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		for _, mount := range c.VolumeMounts {
			if mount.Name == "secrets" && c.Name != "broker" {
				t.Errorf("the container %s mounts the secrets", c.Name)
			}
			if mount.SubPath != "" {
				t.Errorf("%s mounts %s with subPath, but Kubernetes does not update such a mount", c.Name, mount.MountPath)
			}
			if wanted := c.Name != "broker" || mount.Name != "socket"; mount.ReadOnly != wanted {
				t.Errorf("in %s the mount of %s has readOnly %v", c.Name, mount.Name, mount.ReadOnly)
			}
		}
		for _, variable := range c.Env {
			if variable.From != nil || c.EnvFrom != nil {
				t.Errorf("%s gets environment variables from a ConfigMap or Secret: use files, which can change while the pod runs, and which fewer processes can read", c.Name)
			}
		}
	}
	for _, volume := range spec.Volumes {
		if volume.Secret.Name != "" && volume.Secret.DefaultMode != 0o440 {
			t.Errorf("the mode of the secrets' files is %o, want 440", volume.Secret.DefaultMode)
		}
	}
}

// TestPodFitsTheImage checks that users, paths and times in the Deployment match the image.
func TestPodFitsTheImage(t *testing.T) {
	spec, configuration := manifests(t)
	broker, service := spec.InitContainers[0], spec.Containers[0]
	if broker.RestartPolicy != "Always" || broker.Command != nil {
		t.Error("the broker is not a sidecar, or does not run the image's entry point")
	}
	if broker.SecurityContext.User != 65532 || spec.SecurityContext.Group != 65532 {
		t.Error("the broker's user or group differs from the image's")
	}
	if time.Duration(spec.Grace)*time.Second <= stopTime {
		t.Errorf("the pod has %d s to stop, but the broker alone needs %v", spec.Grace, stopTime)
	}
	if address := service.Env[0].Value; !strings.Contains(configuration, "grpc: "+address+"\n") {
		t.Errorf("the service calls %s, where the broker does not listen", address)
	}
}

// arguments returns the arguments with which the probe runs /broker.
func (p probe) arguments(t *testing.T) []string {
	t.Helper()
	if len(p.Exec.Command) == 0 || p.Exec.Command[0] != "/broker" {
		t.Fatalf("the probe runs %q, but the image contains only /broker", p.Exec.Command)
	}
	return p.Exec.Command[1:]
}

// podServes runs the broker's container on mounted files, and then changes a secret as the kubelet
// does.
func podServes(t *testing.T, b *broker) {
	const secrets, socket = "/run/secrets/authmaterial", "/run/authmaterial/broker.sock"
	spec, configuration := manifests(t)
	container := spec.InitContainers[0]
	startPod(t, b, spec, configuration, map[string]string{"sendpulse_client_secret": "s", "pendo_api_key": "before"})
	for _, probe := range []probe{container.StartupProbe, container.LivenessProbe} {
		b.run(t, probe.arguments(t))
	}
	b.wantSocket(t, socket)
	b.awaitKey(t, socket, "before")
	b.mount(t, secrets, map[string]string{"sendpulse_client_secret": "s", "pendo_api_key": "after"})
	b.awaitKey(t, socket, "after")
}

// startPod runs the command of the broker's container on files that are mounted as the kubelet
// mounts them.
func startPod(t *testing.T, b *broker, spec pod, configuration string, secrets map[string]string) {
	t.Helper()
	container := spec.InitContainers[0]
	for _, mount := range container.VolumeMounts {
		switch mount.Name {
		case "config":
			b.mount(t, mount.MountPath, map[string]string{"broker.yaml": configuration})
		case "secrets":
			b.mount(t, mount.MountPath, secrets)
		default:
			b.folder(t, mount.MountPath)
		}
	}
	b.start(t, container.Args)
}
