package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/yamlfile"
)

func BenchmarkDefine(b *testing.B) {
	var documents []*yamlfile.Document
	files, err := filepath.Glob("providers/*.yaml")
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		documents = append(documents, yamlfile.Parse(file, text))
	}
	if err != nil || len(documents) == 0 {
		b.Fatal("there are no definitions", err)
	}
	for b.Loop() {
		for _, document := range documents {
			catalog.Define(document.Root())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(documents)), "µs/definition")
}
