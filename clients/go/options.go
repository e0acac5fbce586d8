package metagov

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Option says what the environment does not, or otherwise.
type Option func(*settings)

// WithEndpoint is METAGOV_ENDPOINT: an address such as http://127.0.0.1:50051.
func WithEndpoint(endpoint string) Option {
	return func(s *settings) { s.endpoint = endpoint }
}

// WithToken is METAGOV_TOKEN. An empty one is none.
func WithToken(token string) Option {
	return func(s *settings) { s.token = token }
}

// WithCA is METAGOV_CA: the path of a PEM file.
func WithCA(file string) Option {
	return func(s *settings) { s.ca = file }
}

// WithInsecurePlaintext is METAGOV_INSECURE_PLAINTEXT.
func WithInsecurePlaintext(allowed bool) Option {
	return func(s *settings) { s.insecure = allowed }
}

// WithDialOptions are handed to gRPC beside, and after, those of this package:
// interceptors, statistics, a dialer of one's own.
func WithDialOptions(more ...grpc.DialOption) Option {
	return func(s *settings) { s.more = append(s.more, more...) }
}

type settings struct {
	endpoint, token, ca string
	insecure            bool
	more                []grpc.DialOption
}

func fromEnvironment() settings {
	from := settings{
		endpoint: os.Getenv("METAGOV_ENDPOINT"),
		token:    os.Getenv("METAGOV_TOKEN"),
		ca:       os.Getenv("METAGOV_CA"),
		insecure: os.Getenv("METAGOV_INSECURE_PLAINTEXT") == "true",
	}
	if from.endpoint == "" {
		from.endpoint = "http://127.0.0.1:50051"
	}
	return from
}

// dialing is how gRPC is to connect there.
func (s settings) dialing(to endpoint, over *line) ([]grpc.DialOption, error) {
	options := manners()
	if to.loopback {
		options = append(options, grpc.WithNoProxy())
	}
	transport, err := s.transport(to)
	if err != nil {
		return nil, err
	}
	options = append(options, grpc.WithTransportCredentials(noted{transport, over}))
	token, err := s.bearer(to)
	if err != nil {
		return nil, err
	}
	if token != nil {
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	return slices.Concat(options, s.more), nil
}

func (s settings) transport(to endpoint) (credentials.TransportCredentials, error) {
	if !to.secure {
		return newPlaintext(), nil
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca == "" {
		return credentials.NewTLS(trust), nil
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, invalid("METAGOV_CA: " + err.Error())
	}
	trust.RootCAs = x509.NewCertPool()
	if !trust.RootCAs.AppendCertsFromPEM(pem) {
		return nil, invalid("METAGOV_CA: there is no certificate in " + s.ca + ", as PEM")
	}
	return credentials.NewTLS(trust), nil
}

// bearer sends the token, never to somewhere from where it could be overheard.
func (s settings) bearer(to endpoint) (credentials.PerRPCCredentials, error) {
	token := strings.TrimSpace(s.token)
	switch {
	case token == "":
		return nil, nil
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, invalid("METAGOV_TOKEN: is no token: it has characters that no token has")
	case !to.secure && !to.loopback && !s.insecure:
		return nil, invalid("METAGOV_ENDPOINT: the token is not sent there, since it could be " +
			"read on the way; use https://, or a tunnel, or set METAGOV_INSECURE_PLAINTEXT=true")
	}
	return bearerOf(token), nil
}
