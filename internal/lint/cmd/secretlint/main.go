// Command secretlint runs the lint rules about secrets, either by itself or as the tool of `go vet
// -vettool`.
package main

import (
	"golang.org/x/tools/go/analysis/multichecker"

	"github.com/authmaterial/broker/internal/lint/secretfmt"
	"github.com/authmaterial/broker/internal/lint/secretreveal"
)

func main() { multichecker.Main(secretfmt.Analyzer, secretreveal.Analyzer) }
