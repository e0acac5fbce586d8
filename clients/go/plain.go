package metagov

import (
	"math"

	"google.golang.org/protobuf/types/known/structpb"
)

// FromStruct makes plain values of a Struct: map[string]any, []any, string, bool, nil, and
// for numbers int64 if they are whole and within 2^53, else float64. Of nil it is an empty
// map.
func FromStruct(object *structpb.Struct) map[string]any {
	plain := make(map[string]any, len(object.GetFields()))
	for name, value := range object.GetFields() {
		plain[name] = FromValue(value)
	}
	return plain
}

// FromValue makes a plain value of a Value, as [FromStruct] does.
func FromValue(value *structpb.Value) any {
	switch kind := value.GetKind().(type) {
	case *structpb.Value_StructValue:
		return FromStruct(kind.StructValue)
	case *structpb.Value_ListValue:
		list := make([]any, len(kind.ListValue.GetValues()))
		for i, item := range kind.ListValue.GetValues() {
			list[i] = FromValue(item)
		}
		return list
	case *structpb.Value_NumberValue:
		return fromNumber(kind.NumberValue)
	case *structpb.Value_StringValue:
		return kind.StringValue
	case *structpb.Value_BoolValue:
		return kind.BoolValue
	}
	return nil
}

func fromNumber(number float64) any {
	if math.Abs(number) <= largestWhole && number == math.Trunc(number) {
		return int64(number)
	}
	return number
}
