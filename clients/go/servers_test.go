package metagov

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"
)

// listen serves every connection by itself until the end of the test, and returns where.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// secureServer does TLS with a certificate of its own.
func secureServer(t *testing.T) string {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	t.Cleanup(lender.Close)
	own := &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"}}
	return listen(t, func(conn net.Conn) {
		if err := tls.Server(conn, own).Handshake(); errors.As(err, &tls.RecordHeaderError{}) {
			_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 50}) // As the gateway does.
			return
		}
		_, _ = io.Copy(io.Discard, conn)
	})
}

// webServer knows HTTP/1.1 only.
func webServer(t *testing.T) string {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
}
