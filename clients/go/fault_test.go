package metagov

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	metagovv1 "metagov.org/go/metagov/v1"
)

func detailed(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	said, err := status.New(code, "why").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return said.Err()
}

func reason(name string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{
		Reason: name, Domain: "metagov.org", Metadata: map[string]string{"plugin": "ballot"},
	}
}

func TestAFaultHasAllThatTheErrorSays(t *testing.T) {
	fields := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "parameters/low", Description: "too low"}, {Field: "parameters/low", Description: "no number"},
	}}
	wait := &errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}
	err := detailed(t, codes.InvalidArgument, reason("ERROR_REASON_SCHEMA_MISMATCH"), fields, wait)
	fault := FaultOf(fmt.Errorf("in my driver: %w", err))
	if fault.CodeName() != "INVALID_ARGUMENT" || fault.Reason != "ERROR_REASON_SCHEMA_MISMATCH" ||
		fault.Message != "why" || fault.Metadata["plugin"] != "ballot" ||
		fault.Fields["parameters/low"] != "too low; no number" || fault.RetryDelay != 1500*time.Millisecond {
		t.Errorf("%+v", fault)
	}
}

func TestFaultsOfOtherErrors(t *testing.T) {
	if FaultOf(nil) != nil {
		t.Error("nothing is at fault")
	}
	for err, code := range map[error]string{
		context.DeadlineExceeded: "DEADLINE_EXCEEDED", context.Canceled: "CANCELLED",
		errors.New("odd"): "UNKNOWN", invalid("no"): "INVALID_ARGUMENT",
	} {
		if name := FaultOf(err).CodeName(); name != code {
			t.Error(err, name)
		}
	}
}

func TestWhatARetryCures(t *testing.T) {
	for _, row := range []struct {
		err   error
		cured bool
	}{
		{detailed(t, codes.Unavailable), true},
		{detailed(t, codes.Unavailable, reason("ERROR_REASON_DRAINING")), true},
		{detailed(t, codes.ResourceExhausted), true},
		{detailed(t, codes.ResourceExhausted, reason("ERROR_REASON_MESSAGE_TOO_LARGE")), false},
		{detailed(t, codes.Internal), true},
		{detailed(t, codes.Internal, reason("ERROR_REASON_INTERNAL")), false},
		{detailed(t, codes.Unauthenticated), false},
		{detailed(t, codes.OutOfRange), false},
		{detailed(t, codes.Unimplemented), false},
		{errors.New("cut"), true},
	} {
		if isCurable(FaultOf(row.err)) != row.cured {
			t.Error(row.err)
		}
	}
}

// What other servers than a gateway answer is known by gRPC's wording: here it is asked.
func TestWhoElseAnswersIsTold(t *testing.T) {
	secure, web := secureServer(t), webServer(t)
	for endpoint, advice := range map[string]string{
		"https://" + secure: adviceTLS, // Nobody vouches for it.
		"http://" + secure:  adviceTLS,
		"https://" + web:    adviceTLS,
		"http://" + web:     adviceAddress,
		"http://" + listen(t, func(conn net.Conn) { _ = conn.Close() }): adviceRunning,
	} {
		client, err := Connect(WithEndpoint(endpoint), WithToken(""))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Communities.GetCommunity(t.Context(), &metagovv1.GetCommunityRequest{})
		if fault := FaultOf(err); fault.Advice != advice {
			t.Errorf("%s: %+v", endpoint, fault)
		}
		_ = client.Close()
	}
}
