package simulator_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
)

func TestEveryHostIsServedOverTLSUnderItsOwnName(t *testing.T) {
	sim, client := start(t, simulator.WithHosts("crm.example.test"))
	for _, host := range []string{
		"api.sendpulse.com", "pulsedive.com",
		"app.pendo.io", "us1.app.pendo.io", "app.eu.pendo.io", "app.jpn.pendo.io", "app.au.pendo.io",
		"api.in.spotdraft.com", "api.us.spotdraft.com", "api.me.spotdraft.com", "api.eu.spotdraft.com",
		"api.spotdraft.com", "127.0.0.1", "localhost", simulator.ExampleHost, "crm.example.test",
	} {
		t.Run(host, func(t *testing.T) {
			response := do(t, client, get("https://"+host+"/no-such-path", nil))
			if response.status != http.StatusNotFound {
				t.Errorf("status = %d, want 404 from the simulator", response.status)
			}
		})
	}
	_, err := send(client, get("https://other.example.test/", nil))
	if _, ok := errors.AsType[x509.HostnameError](err); !ok {
		t.Errorf("a host that is not in the certificate: error = %v, want a HostnameError", err)
	}
	_, err = send(&http.Client{Transport: &http.Transport{}}, get("https://"+sim.Addr()+"/", nil))
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("a client that does not trust the simulator's authority: error = %v, want an UnknownAuthorityError", err)
	}
}

func TestCertificatePEMIsTheAuthority(t *testing.T) {
	sim, _ := start(t)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(sim.CertificatePEM()) || !pool.Equal(sim.CAPool()) {
		t.Error("CertificatePEM does not return the certificate that CAPool contains")
	}
}

func TestHTTP2(t *testing.T) {
	sim, _ := start(t)
	transport := sim.Transport()
	transport.ForceAttemptHTTP2 = true
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	if response := do(t, client, get(userInfo, bearer(sim.SendPulse.APIKey()))); response.proto != "HTTP/2.0" {
		t.Errorf("protocol = %s, want HTTP/2.0", response.proto)
	}
	sim.SendPulse.FailAPIRequests(simulator.CloseConnection())
	if _, err := send(client, get(userInfo, nil)); err == nil {
		t.Error("a request over HTTP/2 succeeded in spite of CloseConnection")
	}
}

func TestHandleAndExpectServeATestsOwnProvider(t *testing.T) {
	sim, client := start(t)
	sim.Handle("GET api.example.test/raw", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	api := sim.Expect("GET api.example.test/v1/things", func(r *http.Request) bool {
		return r.Header.Get("x-key") == "k"
	})
	if got := do(t, client, get("https://api.example.test/raw", nil)).status; got != http.StatusTeapot {
		t.Errorf("a request to a handler that Handle has set: status = %d, want the status that the handler sends", got)
	}
	if got := do(t, client, get("https://api.example.test/v1/things", header("x-key", "k"))).status; got != 200 {
		t.Errorf("a request that matches Expect: status = %d, want 200", got)
	}
	if got := do(t, client, get("https://api.example.test/v1/things", nil)).status; got != 401 {
		t.Errorf("a request that does not match Expect: status = %d, want 401", got)
	}
	if api.APIRequests() != 2 || api.RecognisedRequests() != 1 {
		t.Errorf("API requests = %d, recognised requests = %d, want 2 and 1", api.APIRequests(), api.RecognisedRequests())
	}
}

func TestDisconnect(t *testing.T) {
	for name, client := range clients() {
		t.Run(name, func(t *testing.T) {
			sim, client := client(t)
			request := get(userInfo, bearer(sim.SendPulse.APIKey()))
			do(t, client, request)
			reconnect := sim.Disconnect()
			// A client may send a request on a pooled connection before it notices that the
			// connection is closed.
			for range 2 {
				_, err := send(client, request)
				if err == nil {
					t.Fatal("a request reached the simulator during the outage")
				}
				if errors.Is(err, syscall.ECONNREFUSED) {
					break
				}
			}
			if _, err := send(client, request); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("error = %v, want a refused connection", err)
			}
			reconnect()
			reconnect()
			if got := do(t, client, request).status; got != http.StatusOK {
				t.Errorf("after reconnecting: status = %d, want 200", got)
			}
			if got := sim.SendPulse.APIRequests(); got != 2 {
				t.Errorf("%d requests arrived, want 2: those before and after the outage", got)
			}
		})
	}
}

func TestCloseEndsHangingRequests(t *testing.T) {
	for name, client := range clients() {
		t.Run(name, func(t *testing.T) {
			sim, client := client(t)
			sim.SendPulse.FailTokenRequests(simulator.Hang())
			failed := make(chan error, 1)
			go func() {
				_, err := send(client, tokenRequest(sim.SendPulse.Client()))
				failed <- err
			}()
			await(t, sim.SendPulse.TokenEndpoint, 1)
			for range 2 {
				if err := sim.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
			if err := <-failed; err == nil {
				t.Error("the hanging request was answered")
			}
		})
	}
}

func TestInProcessKeepsToTheClockOfABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, client := startInProcess(t)
		token := obtain(t, client, sim.SendPulse.Client())

		pass(simulator.DefaultTokenLifetime - 1)
		if got := do(t, client, get(userInfo, bearer(token))).status; got != http.StatusOK {
			t.Errorf("shortly before the token expires: status = %d, want 200", got)
		}
		pass(1)
		if got := do(t, client, get(userInfo, bearer(token))).status; got != http.StatusUnauthorized {
			t.Errorf("when the token has expired: status = %d, want 401", got)
		}

		sim.SendPulse.FailTokenRequests(simulator.Hang())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := send(client, tokenRequest(sim.SendPulse.Client()).WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request to an endpoint that hangs: error = %v, want context.DeadlineExceeded", err)
		}
		if _, err := send(&http.Client{Transport: sim.Transport()}, get(userInfo, nil)); err == nil {
			t.Error("Transport works although the simulator does not listen")
		}
		if sim.Addr() != "" {
			t.Errorf("Addr = %q, want an empty address", sim.Addr())
		}
	})
}

func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // inside a synctest bubble this sleep takes no real time
}

func TestInProcessRefusesHTTP(t *testing.T) {
	sim, _ := start(t, simulator.InProcess())
	_, err := send(&http.Client{Transport: sim.RoundTripper()}, get("http://api.sendpulse.com/user/info", nil))
	if err == nil {
		t.Error("a request with an http URL was answered")
	}
}

func TestSecretsAreKnownAndDifferentForEachSimulator(t *testing.T) {
	first, client := start(t)
	second, _ := start(t)
	token := obtain(t, client, first.SendPulse.Client())
	old := first.SendPulse.Client().Secret
	want := []string{
		old, first.SendPulse.APIKey(), first.Pulsedive.Key(), first.Pendo.Key(),
		first.SpotDraft.Client().Secret, token, first.SendPulse.RotateClientSecret().Secret,
	}
	known := strings.Join(first.Secrets(), "\n")
	others := strings.Join(second.Secrets(), "\n")
	for i, secret := range want {
		if !strings.Contains(known, secret) {
			t.Errorf("the method Secrets does not return the secret number %d in the test's list", i)
		}
		if strings.Contains(others, secret) {
			t.Errorf("two simulators created the same secret, number %d in the test's list", i)
		}
	}
}
