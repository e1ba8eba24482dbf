package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts and tests run the program as `broker`, in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		// The race detector keeps every process for a second at its end, unless told.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, programs)
}

// programs are what scripts and tests run, by name.
var programs = map[string]func(){
	"broker":              main,
	"unprivileged-broker": func() { dropPrivileges(); main() },
}

// nobody is a user that owns nothing.
const nobody = 65534

// dropPrivileges makes a process of root's one of nobody's, whom file modes concern.
func dropPrivileges() {
	if os.Geteuid() != 0 {
		return
	}
	if err := syscall.Setuid(nobody); err != nil {
		panic(err)
	}
}

// TestScripts runs testdata/script. Beside testscript's own commands a script has those
// of world.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               newWorld,
		Cmds:                scriptCommands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
