package config

import "github.com/authmaterial/broker/internal/yamlfile"

// Audit configures the audit log, which records the decisions about calls.
type Audit struct {
	// Enabled is true if the file has the section `audit`, without which no decision is recorded.
	Enabled bool
	// Path is the file to which records are written. If Path is empty, records are written to
	// standard output.
	Path string
	// BestEffort lets a call succeed even if its record cannot be written.
	BestEffort bool
}

func (p *parser) readAudit(section yamlfile.Value) Audit {
	section.Mapping("file", "stdout", "mode")
	file, stdout := section.Get("file"), section.Get("stdout")
	if section.Exists() && file.Exists() == stdout.Bool(false) {
		section.Problemf("must have either 'file' or 'stdout: true'")
	}
	return Audit{
		Enabled:    section.Exists(),
		Path:       p.resolvePath(file.Text(yamlfile.MaxText)),
		BestEffort: section.Get("mode").OneOf("required", "best_effort") == "best_effort",
	}
}
