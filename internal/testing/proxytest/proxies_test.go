package proxytest_test

import (
	"net/http"
	"testing"

	"github.com/authmaterial/broker/internal/testing/proxytest"
)

// paths are requests that the providers recognise only with the right material.
var paths = []string{"/sendpulse/user/info", "/pendo/api/v1/token/verify", "/pulsedive/api/indicator.php?indicator=pulsedive.com"}

func TestEnvoyAuthenticatesRequests(t *testing.T) {
	w := proxytest.New(t, nil)
	url := w.StartEnvoy(nil)
	for _, path := range paths {
		if answer := w.Get(url + path); answer.Status != http.StatusOK {
			t.Errorf("%s has the status %d", path, answer.Status)
		}
	}
}

func TestNginxAuthenticatesRequests(t *testing.T) {
	w := proxytest.New(t, nil)
	url := w.StartNginx(nil)
	for _, path := range paths {
		if answer := w.Get(url + path); answer.Status != http.StatusOK {
			t.Errorf("%s has the status %d", path, answer.Status)
		}
	}
}
