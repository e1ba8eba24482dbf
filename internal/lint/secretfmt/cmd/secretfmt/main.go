// Command secretfmt runs the lint rule of the package above it, by itself or as
// `go vet -vettool`.
package main

import (
	"golang.org/x/tools/go/analysis/singlechecker"

	"github.com/authmaterial/broker/internal/lint/secretfmt"
)

func main() { singlechecker.Main(secretfmt.Analyzer) }
