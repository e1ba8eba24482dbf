package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/config"
)

func TestAudit(t *testing.T) {
	const dir = "/etc/broker"
	for text, want := range map[string]config.Audit{
		"":                           {},
		"audit: {file: audit.jsonl}": {Enabled: true, Path: dir + "/audit.jsonl"},
		"audit: {file: /var/log/a, mode: required}": {Enabled: true, Path: "/var/log/a"},
		"audit: {stdout: true, mode: best_effort}":  {Enabled: true, BestEffort: true},
		"audit: {file: ../a, stdout: false}":        {Enabled: true, Path: "/etc/a"},
	} {
		got, err := config.Parse(filepath.Join(dir, "b.yaml"), []byte("credentials: []\n"+text), config.Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got.Audit != want {
			t.Errorf("%s: the audit section is %+v, want %+v", text, got.Audit, want)
		}
	}
}

func TestAuditMistakes(t *testing.T) {
	const where = "must have either 'file' or 'stdout: true'"
	for text, want := range map[string]string{
		"{}":                               "2:8: " + where,
		"{mode: required}":                 "2:8: " + where,
		"{stdout: false}":                  "2:8: " + where,
		"{file: a, stdout: true}":          "2:8: " + where,
		"{stdout: true, mode: sometimes}":  `2:29: must be one of "required", "best_effort"`,
		"{stdout: true, mode: bestEffort}": `2:29: must be one of "required", "best_effort"`,
		`{file: ""}`:                       "2:15: ",
		"{path: a}":                        "2:9: unknown key",
		"true":                             "2:8: ",
	} {
		_, err := config.Parse("b.yaml", []byte("credentials: []\naudit: "+text+"\n"), config.Options{})
		if err == nil || !strings.Contains(err.Error(), "b.yaml:"+want) {
			t.Errorf("%s: the problems are\n%v\nwant\n%s", text, err, want)
		}
	}
}
