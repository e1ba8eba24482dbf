package deploy_test

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// These types contain the parts of the manifests that must match each other or the broker. The
// command `validate` in deploy/kubernetes checks whether Kubernetes accepts the manifests.
type (
	deployment struct {
		Spec struct{ Template struct{ Spec pod } }
	}
	pod struct {
		Grace           int         `yaml:"terminationGracePeriodSeconds"`
		Token           *bool       `yaml:"automountServiceAccountToken"`
		SecurityContext security    `yaml:"securityContext"`
		InitContainers  []container `yaml:"initContainers"`
		Containers      []container
		Volumes         []struct {
			Name      string
			ConfigMap struct{ Name string } `yaml:"configMap"`
			Secret    struct {
				DefaultMode int `yaml:"defaultMode"`
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
		EnvFrom         []any    `yaml:"envFrom"`
		StartupProbe    probe    `yaml:"startupProbe"`
		LivenessProbe   probe    `yaml:"livenessProbe"`
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
	return manifestsWith(t, "kubernetes/configmap.yaml")
}

// manifestsWith returns the pod of the Deployment, and the broker's configuration in a ConfigMap.
func manifestsWith(t *testing.T, configMap string) (spec pod, configuration string) {
	t.Helper()
	var d deployment
	if err := yaml.Unmarshal([]byte(read(t, "kubernetes/deployment.yaml")), &d); err != nil {
		t.Fatal(err)
	}
	var c struct {
		Metadata struct{ Name string }
		Data     map[string]string
	}
	if err := yaml.Unmarshal([]byte(read(t, configMap)), &c); err != nil {
		t.Fatal(err)
	}
	spec = d.Spec.Template.Spec
	for _, volume := range spec.Volumes {
		if volume.Name == "config" && volume.ConfigMap.Name != c.Metadata.Name {
			t.Errorf("the pod mounts the ConfigMap %q, but the manifest's ConfigMap is named %q", volume.ConfigMap.Name, c.Metadata.Name)
		}
	}
	return spec, c.Data["broker.yaml"]
}

func TestPodMayLittle(t *testing.T) {
	spec, _ := manifests(t)
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

// TestSecretsAreTheBrokers checks that the pod's secrets are files that only the broker's container
// mounts.
func TestSecretsAreTheBrokers(t *testing.T) {
	spec, _ := manifests(t)
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
		if volume.Name == "secrets" && volume.Secret.DefaultMode != 0o440 {
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

// podServes runs the broker's container on mounted files, and then changes a secret as the kubelet
// does.
func podServes(t *testing.T, b *broker) {
	const secrets, socket = "/run/secrets/authmaterial", "/run/authmaterial/broker.sock"
	spec, configuration := manifests(t)
	container := spec.InitContainers[0]
	startPod(t, b, spec, configuration, map[string]string{"sendpulse_client_secret": "s", "pendo_api_key": "before"})
	for _, probe := range []probe{container.StartupProbe, container.LivenessProbe} {
		if command := probe.Exec.Command; command[0] != "/broker" {
			t.Errorf("the probe runs %s, which the image does not contain", command[0])
		}
		b.run(t, probe.Exec.Command[1:])
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
