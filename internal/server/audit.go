package server

import (
	"context"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/audit"
)

// newAudit returns what writes the records of decisions; nil where the configuration
// wants none.
func newAudit(options Options, m *metrics) (*audit.Writer, error) {
	wanted := options.Config.Audit
	if !wanted.Enabled {
		return nil, nil
	}
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authmaterial_audit_records_total",
		Help: "Audit records by what became of them: written, dropped because the queue was full, or failed, also when a line was not written in its call's time.",
	}, []string{"result"})
	m.registry.MustRegister(records)
	var ofTrace func(context.Context) string
	if options.Traces != nil {
		ofTrace = traceID
	}
	return audit.Open(audit.Options{
		Path:       wanted.Path,
		Output:     os.Stdout,
		BestEffort: wanted.BestEffort,
		Clock:      options.Clock,
		Logger:     options.Logger,
		TraceID:    ofTrace,
		Written:    records.WithLabelValues("written"),
		Dropped:    records.WithLabelValues("dropped"),
		Failed:     records.WithLabelValues("failed"),
	})
}

// traceID is the ID of the trace that a call is part of; empty: of none.
func traceID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		return span.TraceID().String()
	}
	return ""
}

// auditLog is the writer for the broker, which wants no interface around nil.
func auditLog(writer *audit.Writer) audit.DenialLog {
	if writer == nil {
		return nil
	}
	return writer
}

// newDenials bounds the records of denials.
func newDenials(options Options, l *limits, log audit.DenialLog) *audit.Denials {
	return audit.NewDenials(audit.DenialOptions{
		PerSecond: l.DenialsPerSecond,
		Burst:     l.DenialBurst,
		Log:       log,
		Clock:     options.Clock,
		LeftOut:   func(caller string) { l.record(admission.DenialsPerSecond, caller) },
	})
}

// ReopenAudit has the next record go to a file that is opened anew.
func (s *Server) ReopenAudit() { s.audit.Reopen() }
