package metagov

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// endpoint is where a gateway is.
type endpoint struct {
	address  string // host:port
	secure   bool   // with TLS
	loopback bool   // on this machine
}

// parseEndpoint never repeats the text, since what is before an @ would be a password.
func parseEndpoint(text string) (endpoint, error) {
	wrong := invalid("METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051")
	where, err := url.Parse(text)
	if err != nil || where.Hostname() == "" || where.User != nil {
		return endpoint{}, wrong
	}
	bare := url.URL{Scheme: where.Scheme, Host: where.Host}
	if bare.String() != strings.TrimSuffix(where.String(), "/") {
		return endpoint{}, wrong // It has a path, a query or a fragment.
	}
	ports := map[string]string{"http": "80", "https": "443"}
	port, known := ports[where.Scheme]
	if !known {
		return endpoint{}, wrong
	}
	if given := where.Port(); given != "" {
		port = given
	}
	return endpoint{
		address:  net.JoinHostPort(where.Hostname(), port),
		secure:   where.Scheme == "https",
		loopback: isLoopback(where.Hostname()),
	}, nil
}

func isLoopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// bearer sends a token with every call. A function keeps it, so that nothing which prints
// values prints the token.
type bearer func() string

func bearerOf(token string) bearer {
	return func() string { return "Bearer " + token }
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": b()}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Where a token may go
// without TLS was decided before.
func (b bearer) RequireTransportSecurity() bool {
	return false
}
