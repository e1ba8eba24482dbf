// Clientworld serves the test vectors of clients/vectors to the tests of a client, until its
// standard input is closed. It prints its URL as a line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/authmaterial/broker/clients/vectors"
	"github.com/authmaterial/broker/internal/testing/clientworld"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clientworld:", err)
		os.Exit(1)
	}
}

func run() error {
	files, err := vectors.Files()
	if err != nil {
		return err
	}
	server, err := clientworld.NewServer(files)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_ = (&http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
	}()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
