package curlcommand

import "strings"

// withArgument lists the options of curl that take an argument. All others take none.
var withArgument = setOf(`abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config connect-timeout
	connect-to continue-at cookie cookie-jar create-file-mode crlfile curves data data-ascii data-binary data-raw
	data-urlencode delegation dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url dump-header ech egd-file
	engine etag-compare etag-save expand-url expand-header expand-data expect100-timeout form form-string ftp-account
	ftp-alternative-to-user ftp-method ftp-port ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip header
	hostpubmd5 hostpubsha256 hsts interface ip-tos ipfs-gateway json keepalive-cnt keepalive-time key key-type krb
	libcurl limit-rate local-port login-options mail-auth mail-from mail-rcpt max-filesize max-redirs max-time
	netrc-file noproxy oauth2-bearer output output-dir parallel-max pass pinnedpubkey preproxy proto proto-default
	proto-redir proxy proxy-cacert proxy-capath proxy-cert proxy-cert-type proxy-ciphers proxy-crlfile proxy-header
	proxy-key proxy-key-type proxy-pass proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers proxy-tlsauthtype
	proxy-tlspassword proxy-tlsuser proxy-user proxy1.0 pubkey quote random-file range rate referer request
	request-target resolve retry retry-delay retry-max-time sasl-authzid service-name socks4 socks4a socks5
	socks5-gssapi-service socks5-hostname speed-limit speed-time stderr telnet-option tftp-blksize time-cond tls-max
	tls13-ciphers tlsauthtype tlspassword tlsuser trace trace-ascii trace-config unix-socket upload-file url url-query
	user user-agent variable vlan-priority write-out`)

func setOf(names string) map[string]bool {
	set := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		set[name] = true
	}
	return set
}

// longNames has the short options that take an argument, and those others that matter here.
var longNames = map[byte]string{
	'A': "user-agent", 'b': "cookie", 'c': "cookie-jar", 'C': "continue-at", 'd': "data", 'D': "dump-header",
	'e': "referer", 'E': "cert", 'F': "form", 'G': "get", 'H': "header", 'I': "head", 'K': "config", 'm': "max-time",
	'n': "netrc", 'o': "output", 'P': "ftp-port", 'Q': "quote", 'r': "range", 't': "telnet-option", 'T': "upload-file",
	'u': "user", 'U': "proxy-user", 'w': "write-out", 'x': "proxy", 'X': "request", 'y': "speed-time",
	'Y': "speed-limit", 'z': "time-cond", ':': "next",
}

// refused explains why a command with an option cannot be read.
var refused = map[string]string{
	"config": fromFile, "netrc": fromFile, "netrc-file": fromFile, "netrc-optional": fromFile,
	"next":   "give one command for each request",
	"digest": notBasic, "ntlm": notBasic, "negotiate": notBasic, "anyauth": notBasic,
	"aws-sigv4": "a definition cannot describe signatures over the request itself",
	"cert":      "the broker gives callers no client certificate: leave the option out, and let the callers send the certificate; for a token request, add client_certificate to the definition",
	"variable":  variables, "expand-url": variables, "expand-header": variables, "expand-data": variables,
}

const (
	fromFile  = "write what the file contains as arguments"
	notBasic  = "a definition cannot describe this kind of authentication"
	variables = "write the texts themselves"
)
