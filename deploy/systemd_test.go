package deploy_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stopTime is the longest time that the broker may take to stop, even if calls, files or
// connections hang.
const stopTime = 21 * time.Second

const credentialsFolder = "/run/credentials/authmaterial-broker.service"

// unit returns the settings in the systemd unit and its drop-in files, by name. No name occurs in
// two sections of the unit.
func unit(t *testing.T, dropIns ...string) map[string][]string {
	t.Helper()
	settings := map[string][]string{}
	for _, file := range append([]string{"systemd/authmaterial-broker.service"}, dropIns...) {
		for line := range strings.Lines(read(t, file)) {
			if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(key, "#") {
				settings[key] = append(settings[key], value)
			}
		}
	}
	return settings
}

// The method `one` returns the value of a setting that must occur exactly once.
func one(t *testing.T, settings map[string][]string, key string) string {
	t.Helper()
	if len(settings[key]) != 1 {
		t.Fatalf("the unit has %d lines with %s=, want one", len(settings[key]), key)
	}
	return settings[key][0]
}

// TestUnitStopsLate checks that systemd waits longer than the broker needs to stop.
func TestUnitStopsLate(t *testing.T) {
	patient, err := time.ParseDuration(one(t, unit(t), "TimeoutStopSec"))
	if err != nil || patient <= stopTime {
		t.Errorf("TimeoutStopSec is %v (%v), want more than %v", patient, err, stopTime)
	}
}

// TestStopTimesThatAreTold checks that documents and deployment files state how long the broker
// takes to stop.
func TestStopTimesThatAreTold(t *testing.T) {
	for file, text := range map[string]string{
		"../docs/deploying.md":                    "ends within %d",
		"kubernetes/sidecar/deployment.yaml":      "and then %d s for the broker",
		"kubernetes/service/base/deployment.yaml": "and then %d s for the broker",
	} {
		if want := fmt.Sprintf(text, stopTime/time.Second); !strings.Contains(read(t, file), want) {
			t.Errorf("%s does not contain the text %q", file, want)
		}
	}
	patient := regexp.MustCompile(`--stop-timeout (\d+)`).FindStringSubmatch(read(t, "../docs/deploying.md"))
	if patient == nil {
		t.Fatal("docs/deploying.md has no --stop-timeout")
	}
	if seconds, _ := strconv.Atoi(patient[1]); time.Duration(seconds)*time.Second <= stopTime {
		t.Errorf("the container has %d s to stop, but the broker needs %v", seconds, stopTime)
	}
}

// TestUsersOfTheUnit checks that sysusers.conf creates the unit's user and group.
func TestUsersOfTheUnit(t *testing.T) {
	settings, users := unit(t), read(t, "systemd/sysusers.conf")
	for _, line := range []string{"u " + one(t, settings, "User") + " ", "g " + one(t, settings, "Group") + " "} {
		if !strings.Contains("\n"+users, "\n"+line) {
			t.Errorf("sysusers.conf has no line that begins with %q", line)
		}
	}
}

func unitServes(t *testing.T, b *broker) {
	startUnit(t, b, unit(t), read(t, "systemd/broker.yaml"), nil)
	b.awaitKey(t, "/run/authmaterial/broker.sock", "secret of pendo_api_key")
}

// startUnit runs the commands of a systemd unit. `secrets` contains the values of the unit's
// credentials; a credential without a value gets an invented one.
func startUnit(t *testing.T, b *broker, settings map[string][]string, configuration string, secrets map[string]string) {
	t.Helper()
	b.place(t, "/etc/authmaterial", map[string]string{"broker.yaml": configuration})
	b.folder(t, "/run/"+one(t, settings, "RuntimeDirectory"))
	for _, credential := range append(settings["LoadCredential"], settings["SetCredential"]...) {
		id, value, _ := strings.Cut(credential, ":")
		switch secret, given := secrets[id]; {
		case given:
			value = secret
		case strings.HasPrefix(value, "/"):
			value = "secret of " + id + "\n"
		}
		b.place(t, credentialsFolder, map[string]string{id: value})
		if !strings.Contains(configuration, "{file: "+credentialsFolder+"/"+id+"}") {
			t.Errorf("the configuration does not use the credential %s", id)
		}
	}
	b.start(t, words(t, one(t, settings, "ExecStart")))
	b.run(t, words(t, one(t, settings, "ExecStartPost")))
	b.wantSocket(t, "/run/authmaterial/broker.sock")
}

// words splits a command line of the unit, and returns the arguments.
func words(t *testing.T, line string) []string {
	t.Helper()
	all := strings.Fields(line)
	if all[0] != "/usr/local/bin/broker" {
		t.Fatalf("%s: want /usr/local/bin/broker", line)
	}
	return all[1:]
}
