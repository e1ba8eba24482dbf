package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts and tests run the test program as the command `broker` in a new process.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		// By default the race detector delays the end of every process by a second.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, programs)
}

var programs = map[string]func(){
	"broker":              main,
	"unprivileged-broker": func() { dropPrivileges(); main() },
	freePorts:             func() { useFreePorts(); main() },
}

// The program with this name is a broker whose demo listens on free ports.
const freePorts = "broker-on-free-ports"

func useFreePorts() {
	const free = "127.0.0.1:0"
	stayAt = strings.NewReplacer("127.0.0.1:50051", free, "127.0.0.1:9464", free, "127.0.0.1:8081", free)
}

// The user with this ID owns no files.
const nobody = 65534

// dropPrivileges changes the user of the process from root, who could read every file, to the
// user nobody.
func dropPrivileges() {
	if os.Geteuid() != 0 {
		return
	}
	if err := syscall.Setuid(nobody); err != nil {
		panic(err)
	}
}

// TestScripts runs the scripts in testdata/script with testscript's commands and scriptCommands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               newScriptState,
		Cmds:                scriptCommands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
