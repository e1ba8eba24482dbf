package config

import (
	"path/filepath"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// Audit says where records of decisions go.
type Audit struct {
	// Enabled is false when the file has no such section: then there are no records.
	Enabled bool
	// Path is the file; empty: standard output.
	Path string
	// BestEffort has calls go on whose record cannot be written.
	BestEffort bool
}

func parseAudit(value strictyaml.Value, folder string) Audit {
	if !value.Exists() {
		return Audit{}
	}
	audit := Audit{Enabled: true, Path: value.Key("file").Text()}
	if audit.Path != "" && !filepath.IsAbs(audit.Path) {
		audit.Path = filepath.Join(folder, audit.Path)
	}
	if value.Key("file").Exists() == value.Key("stdout").Bool() {
		value.Problemf("must have either 'file' or 'stdout: true'")
	}
	switch mode := value.Key("mode"); mode.Text() {
	case "required", "":
	case "best_effort":
		audit.BestEffort = true
	default:
		mode.Problemf("must be required or best_effort")
	}
	return audit
}
