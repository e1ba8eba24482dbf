package server

import (
	"context"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/rpc"
)

// These are the errors of requests that are refused before their caller is identified.
var (
	errManagementOff = status.Error(codes.NotFound,
		"management over HTTP is off, because other machines can reach listen.http: set listen.management to true in the configuration file, or use gRPC")
	errForeignHost = status.Error(codes.PermissionDenied,
		"the header Host must be localhost, an address of listen.http, or a name in the broker's TLS certificate")
	errCrossOrigin = status.Error(codes.PermissionDenied, "requests from web pages of another origin are refused")
	errStopping    = fault.New(fault.ServerStopping, "the broker is stopping")
)

// managementHTTP returns the handler of CredentialService and ProviderService. The handler refuses
// requests from foreign web pages, because a browser on this machine can connect to the listener,
// and may present a client certificate.
func (s *Server) managementHTTP(service *rpc.Service) http.Handler {
	inner, origins := service.HTTP(), http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case s.httpRemote.Load() && !s.fixed.Listen.Management:
			service.WriteHTTPError(w, r, errManagementOff)
		case !s.isOwnHost(r):
			service.WriteHTTPError(w, r, errForeignHost)
		case origins.Check(r) != nil:
			service.WriteHTTPError(w, r, errCrossOrigin)
		case err != nil || content != "application/json" && content != "application/proto":
			w.Header().Set("Accept-Post", "application/json, application/proto")
			answer(w, http.StatusUnsupportedMediaType, "the content type must be application/json or application/proto")
		case !s.ready():
			service.WriteHTTPError(w, r, errStopping)
		default:
			inner.ServeHTTP(w, r.WithContext(s.withPeer(r)))
		}
	})
}

// isOwnHost reports whether the header Host names this listener. Without this check, a web page
// could resolve its own name to the listener's address, and its requests would not have a foreign
// origin.
func (s *Server) isOwnHost(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if r.TLS != nil && s.broker.Current().Config.Listen.TLS.Certificate.Leaf.VerifyHostname(host) == nil {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.Unmap() == localIP(r)
	}
	configured, _, _ := net.SplitHostPort(s.fixed.Listen.HTTP.Address)
	return strings.EqualFold(host, "localhost") || configured != "" && strings.EqualFold(host, configured)
}

// localIP returns the listener's IP address in the connection of a request, or the zero Addr for a
// Unix socket.
func localIP(r *http.Request) netip.Addr {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return local.AddrPort().Addr().Unmap().WithZone("")
}

type userKey struct{}

// withUser, the function ConnContext of the HTTP server, adds the user at the other end of a Unix
// socket to the context.
func withUser(ctx context.Context, conn net.Conn) context.Context {
	admitted, ok := conn.(*admission.Conn)
	if !ok || conn.LocalAddr().Network() != "unix" {
		return ctx
	}
	id, err := peerUserID(admitted.Conn)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, userKey{}, id)
}

// withPeer returns the context of a request, with the evidence of its caller's identity.
func (s *Server) withPeer(r *http.Request) context.Context {
	p := &rpc.Peer{Address: r.RemoteAddr, Local: !s.httpRemote.Load()}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		p.UserID, _ = r.Context().Value(userKey{}).(*uint32)
		p.Address, p.PrivateSocket = rpc.UnixAddress, s.fixed.Listen.IsPrivate(s.fixed.Listen.HTTP)
	}
	if r.TLS != nil {
		p.Certificates, p.SecurityLevel = r.TLS.PeerCertificates, credentials.PrivacyAndIntegrity
	}
	return rpc.WithPeer(r, p)
}
