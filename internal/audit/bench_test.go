package audit_test

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
)

// BenchmarkWrite measures the audit mode `required` with one and with many concurrent callers.
func BenchmarkWrite(b *testing.B) {
	record := audit.Record{
		Caller:    access.Caller{Name: "spiffe://bench.test/load/0", Method: "mutual_tls", Address: "127.0.0.1:41234"},
		Operation: audit.Get, Action: access.Use, CredentialID: "mail", Grant: "broker.yaml:12", Outcome: "OK", Version: "XfBZbz6QPegKkyXcVdcKYA",
	}
	for _, callers := range []int{1, 64} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			w, err := audit.Open(audit.Options{Path: filepath.Join(b.TempDir(), "audit.jsonl")})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = w.Close() }()
			b.SetParallelism((callers + 1) / 2)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := w.Write(context.Background(), record); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
