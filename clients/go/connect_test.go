package metagov

import (
	"fmt"
	"strings"
	"testing"
)

func TestEndpoints(t *testing.T) {
	for text, want := range map[string]endpoint{
		"http://127.0.0.1:50051":       {address: "127.0.0.1:50051", loopback: true},
		"http://127.0.0.1:50051/":      {address: "127.0.0.1:50051", loopback: true},
		"http://LOCALHOST:1":           {address: "LOCALHOST:1", loopback: true},
		"http://[::1]:50051":           {address: "[::1]:50051", loopback: true},
		"https://gateway.example":      {address: "gateway.example:443", secure: true},
		"http://gateway.example":       {address: "gateway.example:80"},
		"https://gateway.example:8443": {address: "gateway.example:8443", secure: true},
	} {
		if got, err := parseEndpoint(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestWhatIsNoEndpoint(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1:50051", "localhost:50051", "grpc://127.0.0.1:1", "http://", "https://secret@host:1",
		"http://host:1/path", "http://host:1?query", "http://host:1#fragment", "http://host:port", " ",
	} {
		_, err := Connect(WithEndpoint(text))
		if err == nil || err.Error() != "METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestATokenIsNotSentInTheClear(t *testing.T) {
	elsewhere := WithEndpoint("http://gateway.example:50051")
	_, err := Connect(elsewhere, WithToken("mgt_secret"))
	if err == nil || !strings.Contains(err.Error(), "METAGOV_INSECURE_PLAINTEXT") {
		t.Error(err)
	}
	for _, options := range [][]Option{
		{elsewhere, WithToken("")},
		{elsewhere, WithToken("mgt_secret"), WithInsecurePlaintext(true)},
		{WithEndpoint("https://gateway.example"), WithToken("mgt_secret\n")},
	} {
		if _, err := Connect(options...); err != nil {
			t.Error(err)
		}
	}
}

func TestTheTokenIsNowhereToBeSeen(t *testing.T) {
	client, err := Connect(WithEndpoint("http://127.0.0.1:1"), WithToken("mgt_secret"))
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := Connect(WithEndpoint("http://127.0.0.1:1"), WithToken("mgt_secret\x00"))
	printed := fmt.Sprintf("%v %+v %#v %v %v", client, client, client, bearerOf("mgt_secret"), wrong)
	if wrong == nil || strings.Contains(printed, "mgt_secret") {
		t.Error(printed)
	}
}

func TestTheEnvironmentIsReadAndOptionsWin(t *testing.T) {
	t.Setenv("METAGOV_ENDPOINT", "nonsense")
	if _, err := Connect(); err == nil {
		t.Error("METAGOV_ENDPOINT is not read")
	}
	if _, err := Connect(WithEndpoint("http://127.0.0.1:1")); err != nil {
		t.Error(err)
	}
	t.Setenv("METAGOV_ENDPOINT", "https://127.0.0.1:1")
	t.Setenv("METAGOV_CA", "connect_test.go")
	if _, err := Connect(); err == nil || !strings.HasPrefix(err.Error(), "METAGOV_CA: ") {
		t.Error(err)
	}
}
