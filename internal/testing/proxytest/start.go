package proxytest

import (
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/testing/processtest"
)

// StartEnvoy starts Envoy with deploy/proxies/envoy.yaml, and returns its URL. The function `change`
// changes the text of the configuration; it may be nil.
func (w *World) StartEnvoy(change func(string) string) (url string) {
	w.Helper()
	program, err := find("ENVOY", "envoy")
	if err != nil {
		w.Fatal(err)
	}
	text := w.Read("envoy.yaml")
	text = w.redirect(text, "socket_address: {address: broker.example.com, port_value: 50051}", w.GRPC,
		"socket_address: {address: %h, port_value: %p}", "pipe: {path: %s}")
	for _, host := range []string{"api.sendpulse.com", "app.pendo.io", "pulsedive.com"} {
		text = w.redirect(text, "address: "+host+", port_value: 443", w.Simulator.Addr(), "address: %h, port_value: %p", "")
	}
	if change != nil {
		text = change(text)
	}
	return w.startProxy("port_value: 10000", "port_value: ", text, func(text string) (*processtest.Process, error) {
		file := w.Write("envoy.yaml", text)
		return processtest.StartServer(exec.Command(program, //nolint:gosec,noctx // processtest ends the process
			"-c", file, "--concurrency", "2", "--use-dynamic-base-id", "-l", "info"), "starting workers", 30*time.Second)
	})
}

// StartNginx starts nginx with deploy/proxies/nginx.conf, and returns its URL. The function `change`
// changes the text of the configuration; it may be nil.
func (w *World) StartNginx(change func(string) string) (url string) {
	w.Helper()
	program, err := find("NGINX", "nginx")
	if err != nil {
		w.Fatal(err)
	}
	w.Write("broker.conf", w.Read("broker.conf"))
	text := w.redirect(w.Read("nginx.conf"), "broker.example.com:9464", w.HTTP, "%h:%p", "unix:%s")
	for _, host := range []string{"api.sendpulse.com", "app.pendo.io", "pulsedive.com"} {
		text = w.redirect(text, "server "+host+":443", w.Simulator.Addr(), "server %h:%p", "")
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} { // nginx creates these folders
		text = strings.Replace(text, "access_log off;", "access_log off;\n"+kind+"_temp_path "+w.folder+"/"+kind+";", 1)
	}
	if change != nil {
		text = change(text)
	}
	return w.startProxy("listen 127.0.0.1:10080", "listen 127.0.0.1:", text, func(text string) (*processtest.Process, error) {
		file := w.Write("nginx.conf", text)
		return processtest.StartServer(exec.Command(program, "-p", w.folder, "-c", file, "-e", "stderr", //nolint:gosec,noctx // processtest ends the process
			"-g", "daemon off; master_process off; error_log stderr notice; pid "+w.folder+"/nginx.pid;"), "using the", 30*time.Second)
	})
}

// startProxy starts a proxy on a free port.
func (w *World) startProxy(listen, before, text string, start func(string) (*processtest.Process, error)) (url string) {
	w.Helper()
	if strings.Count(text, listen) != 1 {
		w.Fatalf("the configuration does not have %q once", listen)
	}
	processtest.OnFreePort(w, 17000, 2000, func(port int) error {
		url = "http://127.0.0.1:" + strconv.Itoa(port)
		process, err := start(strings.Replace(text, listen, before+strconv.Itoa(port), 1))
		if err == nil {
			w.Cleanup(process.Kill)
		}
		return err
	})
	for began := time.Now(); ; { // Envoy listens a moment after its last log line
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")) //nolint:noctx // the loop ends
		if err == nil {
			_ = connection.Close()
			return url
		}
		if time.Since(began) > 10*time.Second {
			w.Fatal(err)
		}
	}
}

// redirect replaces an address in a configuration. The replacement has the form overTCP, with %h and
// %p for host and port, or the form overUnix, with %s for the path of a Unix socket.
func (w *World) redirect(text, address, by, overTCP, overUnix string) string {
	w.Helper()
	if strings.Count(text, address) != 1 {
		w.Fatalf("the configuration does not have %q once", address)
	}
	host, port, err := net.SplitHostPort(by)
	if err != nil {
		return strings.Replace(text, address, strings.ReplaceAll(overUnix, "%s", by), 1)
	}
	return strings.Replace(text, address, strings.NewReplacer("%h", host, "%p", port).Replace(overTCP), 1)
}
