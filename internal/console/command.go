package console

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/config"
)

// command is a text that people copy.
type command struct{ ID, Label, Text string }

// commandsOf returns the commands with which a caller gets a credential. The note explains the files that
// the commands read; it is empty if they read none.
func commandsOf(listen config.Listen, id string) (commands []command, note string) {
	at := targetOf(listen)
	get := "broker get --address " + quoted(at) + " "
	grpcurl, connect := "grpcurl -plaintext ", "insecure.NewCredentials()"
	var prepare, identify string
	switch {
	case listen.GRPC.Network == "unix":
		grpcurl += "-unix "
	case listen.TLS != nil:
		get += "--tls-ca ca.pem "
		grpcurl, connect = "grpcurl -cacert ca.pem ", "transport"
		prepare = "transport, err := client.TLS{CAFile: \"ca.pem\"}.Credentials()\nif err != nil {\n\treturn err\n}\n"
		note = "The file ca.pem contains the certificate of the authority that signed the broker's certificate."
	}
	if listen.GRPC.Network != "unix" && listen.Authenticated {
		get += "--token-file token "
		grpcurl += `-H "authorization: Bearer $(cat token)" `
		identify = ",\n\tgrpc.WithPerRPCCredentials(client.TokenFile(\"token\"))"
		note = strings.TrimSpace(note + " The file token contains the caller's token.")
	}
	dial := at
	if listen.GRPC.Network != "unix" {
		dial = "dns:///" + at
	}
	return []command{
		{"get", "At a terminal", get + id},
		{"grpcurl", "With grpcurl", grpcurl + "-d '{\"credential_id\": \"" + id + "\"}' \\\n    " +
			quoted(strings.TrimPrefix(at, "unix://")) + " authmaterial.v1.BrokerService/GetAuthDecoration"},
		{"go", "In Go", prepare + "connection, err := grpc.NewClient(" + strconv.Quote(dial) + ",\n\tgrpc.WithTransportCredentials(" + connect + ")" + identify +
			")\nif err != nil {\n\treturn err\n}\nbroker := client.New(connection) // one for the program\ndefer broker.Close()\nhttpClient := broker.HTTPClient(" + strconv.Quote(id) + ")"},
	}, note
}

// targetOf returns the address at which callers reach the broker. If the broker listens at all
// addresses of its machine, the host is localhost. If the broker's certificate is not valid for the
// host, the host is the first DNS name in the certificate, wildcards excepted.
func targetOf(listen config.Listen) string {
	if listen.GRPC.Network == "unix" {
		return listen.GRPC.String()
	}
	host, port, err := net.SplitHostPort(listen.GRPC.Address)
	if err != nil {
		return listen.GRPC.Address
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if listen.TLS != nil && listen.TLS.Certificate.Leaf != nil && listen.TLS.Certificate.Leaf.VerifyHostname(host) != nil {
		for _, name := range listen.TLS.Certificate.Leaf.DNSNames {
			if !strings.HasPrefix(name, "*") {
				host = name
				break
			}
		}
	}
	return net.JoinHostPort(host, port)
}

// plain matches texts that are one word of a shell as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quoted returns a text as one word of a POSIX shell.
func quoted(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
