package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/config"
)

// staticReportNames are the values of the label report.
var staticReportNames = [...]string{
	broker.StaticRejected: "rejected", broker.StaticOutdated: "outdated", broker.StaticOtherStatus: "other_status",
}

// staticMetrics are about material without a token, by provider and auth method.
type staticMetrics struct{ reports *prometheus.CounterVec }

func newStaticMetrics() *staticMetrics {
	return &staticMetrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "authmaterial_static_reports_total",
		Help: "Reports of callers about static material: rejected, of the current version; outdated, of an earlier one; or other_status, with a status that is no rejection.",
	}, []string{"provider", "auth_method", "report"})}
}

// prepare makes the series of every kind of static credential in the configuration, so that
// an increase is seen from the first report on.
func (m *staticMetrics) prepare(c *config.Config) {
	for credential := range c.Credentials.All() {
		if credential.Method.TokenRequest == nil {
			for _, name := range staticReportNames {
				m.reports.WithLabelValues(credential.Provider.ID, credential.Method.ID, name)
			}
		}
	}
}

// reported counts a report.
func (m *staticMetrics) reported(provider, method string, report broker.StaticReport) {
	m.reports.WithLabelValues(provider, method, staticReportNames[report]).Inc()
}
