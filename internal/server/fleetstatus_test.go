package server_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

func (m managing) fleetStatus() *authmaterialv1.GetFleetStatusResponse {
	m.Helper()
	answer, err := m.credentials.GetFleetStatus(m.as("admin"), &authmaterialv1.GetFleetStatusRequest{})
	if err != nil {
		m.Fatal(err)
	}
	return answer
}

func TestFleetStatus(t *testing.T) {
	callers, grants, store, key := []string{"admin", "viewer", "web"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [manage, operate]}
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
  - {callers: ["token:web"], credentials: ["*"]}
`, sqliteStore(t), fleetkeys.Generate()
	m := serveStored(t, grantingText(callers, grants, store), key)
	for _, caller := range []string{"viewer", "web"} {
		if _, err := m.credentials.GetFleetStatus(m.as(caller), &authmaterialv1.GetFleetStatusRequest{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("the error for %s is %v", caller, err)
		}
	}
	m.createAccount("dup", accounts(m.sim)["pendo"])
	m.createAccount("pair", accounts(m.sim)["sendpulse pair"])
	m.mustMaterial("web", "pair")
	m.mustMaterial("web", there)

	first := m.fleetStatus()
	if first.GetBrokerVersion() != "test" || len(first.GetConfigurationProblems()) != 0 || first.GetTokenCache().GetConfigured() {
		t.Errorf("the version is %q, with the problems %q", first.GetBrokerVersion(), first.GetConfigurationProblems())
	}
	if s := first.GetStore(); !s.GetConfigured() || !s.GetAvailable() || s.GetStaleness().AsDuration() > time.Minute {
		t.Errorf("the store is available: %v, with a staleness of %v", s.GetAvailable(), s.GetStaleness().AsDuration())
	}
	if states := first.GetCredentialsByState(); states["READY"] != 2 || states["NOT_YET_USED"] != 2 {
		t.Errorf("the states are %v", states)
	}
	if sent := first.GetTokenRequests(); len(sent) != 1 || sent[0].GetProvider() != "sendpulse" || sent[0].GetRequests() != 1 || sent[0].GetFailures() != 0 {
		t.Errorf("there are token requests to %d providers", len(sent))
	}

	declared := strings.Replace(grantingText(callers, grants, store), "id: key-of-board", "id: dup", 1)
	if err := m.server.Reload(func() (*config.Config, error) { return parseStored(t, declared, key), nil }); err != nil {
		t.Fatal(err)
	}
	_ = m.server.Reload(func() (*config.Config, error) { return nil, errors.New("broker.yaml:3:5: wrong") })
	second := m.fleetStatus()
	if !slices.Equal(second.GetShadowedCredentials(), []string{"dup"}) {
		t.Errorf("the shadowed credentials are %q", second.GetShadowedCredentials())
	}
	if !slices.Equal(second.GetConfigurationProblems(), []string{"broker.yaml:3:5: wrong"}) {
		t.Errorf("the problems are %q", second.GetConfigurationProblems())
	}
	if !second.GetConfigurationTime().AsTime().After(first.GetConfigurationTime().AsTime()) {
		t.Error("the time of the configuration does not change with a reload")
	}
}

// names returns the names of the replicas that the server lists.
func (m managing) names() (names []string) {
	m.Helper()
	for _, replica := range m.fleetStatus().GetReplicas() {
		names = append(names, replica.GetName())
	}
	return names
}

func TestReplicas(t *testing.T) {
	redis := redistest.Start(t)
	sharing, clock := withRedis(t, redis), clockwork.NewFakeClock()
	one := serveManaging(t, sqliteStore(t), sharing)
	other := serveManaging(t, sqliteStore(t), sharing, func(o *server.Options) { o.Clock = clock })
	alone := serveManaging(t, sqliteStore(t))
	first, second := one.fleetStatus().GetReplicas()[0], other.fleetStatus().GetReplicas()[0]
	a, b := first.GetName(), second.GetName()
	if host, err := os.Hostname(); err != nil || a == b || !strings.HasPrefix(a, host+"-") || !strings.HasPrefix(b, host+"-") {
		t.Errorf("the replicas have the names %q and %q", a, b)
	}
	one.eventually("one replica lists both", func() bool { return slices.Equal(one.names(), []string{a, b}) })
	other.eventually("the other replica lists both", func() bool { return slices.Equal(other.names(), []string{b, a}) })
	if names := alone.names(); len(names) != 1 || names[0] == a || names[0] == b {
		t.Errorf("a server without Redis lists %q", names)
	}
	if seen := one.fleetStatus().GetReplicas()[1]; !proto.Equal(seen, second) || seen.GetBrokerVersion() != "test" ||
		!seen.GetStore().GetConfigured() || !seen.GetStore().GetAvailable() || time.Since(seen.GetStartTime().AsTime()) > time.Minute {
		t.Errorf("one replica lists the other with the version %q and the start time %v", seen.GetBrokerVersion(), seen.GetStartTime().AsTime())
	}

	_ = other.server.Reload(func() (*config.Config, error) { return nil, errors.New("broker.yaml:3:5: wrong") })
	clock.Advance(redisstore.AnnouncementInterval)
	one.eventually("the problem is listed", func() bool {
		all := one.fleetStatus().GetReplicas()
		return len(all) == 2 && all[0].GetConfigurationProblems() == 0 && all[1].GetConfigurationProblems() == 1
	})
	other.server.Stop(t.Context())
	if names := one.names(); !slices.Equal(names, []string{a}) {
		t.Errorf("after the other replica has stopped, the list is %q", names)
	}
	redis.Kill()
	one.eventually("Redis is reported as unavailable", func() bool {
		if names := one.names(); !slices.Equal(names, []string{a}) {
			t.Errorf("without Redis, the list is %q", names)
		}
		return !one.fleetStatus().GetTokenCache().GetAvailable()
	})
}

// TestManyReplicas checks that the list has an end.
func TestManyReplicas(t *testing.T) {
	redis := redistest.Start(t)
	sharing := withRedis(t, redis)
	m := serveManaging(t, sqliteStore(t), func(o *server.Options) {
		sharing(o)
		store := redisstore.New(redisstore.Options{Server: redisstore.Server(*o.Config.TokenCache.Redis), Keys: o.Config.TokenCache.FleetKeys})
		defer store.Close()
		now := time.Now()
		for i := range 100 {
			if err := store.Announce(t.Context(), redisstore.Replica{Name: fmt.Sprintf("%03d", i), Version: "1", StartTime: now, ConfigurationTime: now}); err != nil {
				t.Error(err)
			}
		}
	})
	answer := m.fleetStatus()
	if all := answer.GetReplicas(); len(all) != 100 || !answer.GetMoreReplicas() || all[0].GetBrokerVersion() != "test" || all[99].GetName() != "098" {
		t.Errorf("there are %d replicas, and more: %v", len(all), answer.GetMoreReplicas())
	}
}

func TestFleetStatusWhileTheStoreIsAway(t *testing.T) {
	postgres := postgrestest.Start(t)
	m := serveManaging(t, "  url: "+postgres.Database(t)+"\n  user: {env: POSTGRES_USER}\n  password: {env: POSTGRES_PASSWORD}\n")
	postgres.Kill()
	m.eventually("the store is reported as unavailable", func() bool {
		s := m.fleetStatus().GetStore()
		return s.GetConfigured() && !s.GetAvailable() && strings.Contains(s.GetExplanation(), "stay in use")
	})
	if _, _, metrics := m.fetch("/metrics"); !strings.Contains(metrics, "\nauthmaterial_store_up 0\n") {
		t.Error("the metric authmaterial_store_up is not 0")
	}
	postgres.Restart()
	m.eventually("the store is reported as available", func() bool { return m.fleetStatus().GetStore().GetAvailable() })
}

// scrapeWithStore returns the metrics of a server with a managed credential whose secret expires.
func scrapeWithStore(t *testing.T) string {
	t.Helper()
	m := serveManaging(t, sqliteStore(t))
	created := m.createAccount("key", accounts(m.sim)["pendo"])
	end := timestamppb.New(time.Now().Add(24 * time.Hour))
	_, err := m.credentials.UpdateCredential(m.as("admin"), &authmaterialv1.UpdateCredentialRequest{
		Credential: &authmaterialv1.Credential{CredentialId: "key", SecretExpireTime: end}, Etag: created.GetEtag(),
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"secret_expire_time"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, metrics := m.fetch("/metrics")
	return metrics
}

func TestMetricsOfCredentials(t *testing.T) {
	metrics := readMetrics(t, scrapeWithStore(t))
	value := func(name, label string) float64 {
		t.Helper()
		for _, metric := range metrics[name].GetMetric() {
			if len(metric.GetLabel()) == 0 || metric.GetLabel()[0].GetValue() == label {
				return metric.GetGauge().GetValue()
			}
		}
		t.Errorf("the metric %s has no series for %q", name, label)
		return 0
	}
	if v := value("authmaterial_credentials_by_state", "NOT_YET_USED"); v != 3 {
		t.Errorf("%v credentials are not yet used, want 3", v)
	}
	if v := value("authmaterial_credentials_by_state", "READY"); v != 0 {
		t.Errorf("%v credentials are ready, want none", v)
	}
	if v := value("authmaterial_secret_nearest_expiry_seconds", "pendo"); v < 86000 || v > 86400 {
		t.Errorf("the secret that expires first expires in %v s", v)
	}
	if v := value("authmaterial_secret_oldest_age_seconds", "pendo"); v < 0 || v > 60 {
		t.Errorf("the oldest secret is %v s old", v)
	}
	if v := value("authmaterial_store_up", ""); v != 1 {
		t.Errorf("authmaterial_store_up is %v", v)
	}
	if v := value("authmaterial_store_staleness_seconds", ""); v < 0 || v > 60 {
		t.Errorf("the store has been stale for %v s", v)
	}
}
