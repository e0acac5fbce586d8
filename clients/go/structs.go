package metagov

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

// Up to here, and down to its negative, a double holds every whole number.
const largestWhole = 1 << 53

// ToStruct makes a Struct of a map with JSON-like values, or of whatever encoding/json
// makes an object of, such as a struct with tags; nil is an empty one.
//
// Whole numbers beyond 2^53 are refused, since a Struct would change them: send them as
// strings. NaN and infinities are refused, and text that is not UTF-8. The error names the
// place and reads as INVALID_ARGUMENT.
func ToStruct(object any) (*structpb.Struct, error) {
	if object == nil {
		object = map[string]any{}
	}
	value, err := ToValue(object)
	if err != nil {
		return nil, err
	}
	if value.GetStructValue() == nil {
		return nil, invalid(fmt.Sprintf("%T: is no object with named fields", object))
	}
	return value.GetStructValue(), nil
}

// ToValue makes a Value of one JSON-like value, as [ToStruct] does.
func ToValue(value any) (*structpb.Value, error) {
	return toValue("", value)
}

func toValue(path string, value any) (*structpb.Value, error) {
	switch value := value.(type) {
	case nil:
		return structpb.NewNullValue(), nil
	case bool:
		return structpb.NewBoolValue(value), nil
	case string:
		if !utf8.ValidString(value) {
			return nil, at(path, "the text is not UTF-8")
		}
		return structpb.NewStringValue(value), nil
	case json.Number:
		return fromText(path, value)
	case map[string]any:
		return toObject(path, value)
	case []any:
		return toList(path, value)
	}
	return toOther(path, value)
}

// toOther takes the other kinds of numbers; what is left, encoding/json takes apart.
func toOther(path string, value any) (*structpb.Value, error) {
	of := reflect.ValueOf(value)
	switch {
	case of.CanInt():
		return whole(path, of.Int() >= -largestWhole && of.Int() <= largestWhole, float64(of.Int()))
	case of.CanUint():
		return whole(path, of.Uint() <= largestWhole, float64(of.Uint()))
	case of.CanFloat():
		return double(path, of.Float())
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, at(path, err.Error())
	}
	var plain any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&plain); err != nil {
		return nil, at(path, err.Error())
	}
	return toValue(path, plain)
}

func fromText(path string, number json.Number) (*structpb.Value, error) {
	value, err := number.Float64()
	if err != nil {
		return nil, at(path, number.String()+" is too large")
	}
	if strings.ContainsAny(number.String(), ".eE") {
		return double(path, value)
	}
	exact, err := number.Int64()
	return whole(path, err == nil && exact >= -largestWhole && exact <= largestWhole, value)
}

func whole(path string, fits bool, value float64) (*structpb.Value, error) {
	if !fits {
		return nil, at(path, "whole numbers beyond 2^53 lose digits here: send them as strings")
	}
	return structpb.NewNumberValue(value), nil
}

func double(path string, value float64) (*structpb.Value, error) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil, at(path, "JSON has neither NaN nor infinities")
	}
	return structpb.NewNumberValue(value), nil
}

func toObject(path string, object map[string]any) (*structpb.Value, error) {
	fields := make(map[string]*structpb.Value, len(object))
	for name, value := range object {
		if !utf8.ValidString(name) {
			return nil, at(path, "the name of a field is not UTF-8")
		}
		field, err := toValue(strings.TrimPrefix(path+"."+name, "."), value)
		if err != nil {
			return nil, err
		}
		fields[name] = field
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: fields}), nil
}

func toList(path string, list []any) (*structpb.Value, error) {
	values := make([]*structpb.Value, len(list))
	for i, value := range list {
		item, err := toValue(fmt.Sprintf("%s[%d]", path, i), value)
		if err != nil {
			return nil, err
		}
		values[i] = item
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values}), nil
}

func at(path, why string) error {
	return invalid(strings.TrimPrefix(path+": "+why, ": "))
}
