package metagov

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The domain of the gateway's own reasons.
const errorDomain = "metagov.org"

// Fault is what an error says. Branch on the code first, on the reason if you must, on
// the message never.
type Fault struct {
	// Code is gRPC's. Codes of errors that are no call's are Unknown.
	Code codes.Code
	// Reason is one of metagovv1.ErrorReason, spelled as there, such as
	// ERROR_REASON_COMMUNITY_NOT_FOUND. Empty if the error is not the gateway's own.
	Reason string
	// Message is for people.
	Message string
	// Fields says what is wrong with each field at fault, by its path in the request,
	// such as "parameters/title".
	Fields map[string]string
	// Metadata is as the comment of the reason says.
	Metadata map[string]string
	// RetryDelay is how long to wait at least before trying again; 0 if it is not said.
	RetryDelay time.Duration
	// Advice is a sentence about what to do. Empty if the message says it all.
	Advice string
}

// CodeName is the code as gRPC's specification spells it, such as NOT_FOUND.
func (f *Fault) CodeName() string {
	return code.Code(f.Code).String()
}

// FaultOf says what is in an error of a call, a stream or this package, also where it is
// wrapped. It is nil for nil.
func FaultOf(err error) *Fault {
	if err == nil {
		return nil
	}
	said := statusOf(err)
	fault := &Fault{Code: said.Code(), Message: said.Message()}
	for _, detail := range said.Details() {
		fault.add(detail)
	}
	fault.Advice = advice(fault)
	return fault
}

func (f *Fault) add(detail any) {
	switch detail := detail.(type) {
	case *errdetails.ErrorInfo:
		if detail.Domain == errorDomain {
			f.Reason, f.Metadata = detail.Reason, detail.Metadata
		}
	case *errdetails.BadRequest:
		f.Fields = make(map[string]string, len(detail.FieldViolations))
		for _, violation := range detail.FieldViolations {
			if earlier, twice := f.Fields[violation.Field]; twice {
				violation.Description = earlier + "; " + violation.Description
			}
			f.Fields[violation.Field] = violation.Description
		}
	case *errdetails.RetryInfo:
		f.RetryDelay = detail.RetryDelay.AsDuration()
	}
}

func statusOf(err error) *status.Status {
	// A wrapped status keeps its own message: what wraps it is for the log.
	var carries interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carries) && carries.GRPCStatus() != nil {
		return carries.GRPCStatus()
	}
	return status.FromContextError(err)
}

// invalid is an input that this package itself refuses.
type invalid string

func (i invalid) Error() string { return string(i) }

// GRPCStatus lets it be read as if the gateway had refused it.
func (i invalid) GRPCStatus() *status.Status {
	return status.New(codes.InvalidArgument, string(i))
}
