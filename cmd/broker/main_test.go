package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts and tests run the program as `broker`, each time in a new process.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		// By default the race detector delays the end of every process by a second.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, programs)
}

// The variable `programs` contains the programs that scripts and tests run, by program name.
var programs = map[string]func(){
	"broker":              main,
	"unprivileged-broker": func() { dropPrivileges(); main() },
}

// The constant `nobody` is the ID of a user that owns no files.
const nobody = 65534

// dropPrivileges changes the user of the process from root to the user nobody, because root
// could read every file.
func dropPrivileges() {
	if os.Geteuid() != 0 {
		return
	}
	if err := syscall.Setuid(nobody); err != nil {
		panic(err)
	}
}

// TestScripts runs the scripts in testdata/script. Scripts can use the commands of the package
// testscript, and the commands in scriptCommands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               newScriptState,
		Cmds:                scriptCommands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
