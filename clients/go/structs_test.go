package metagov

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestWholeNumbersStayWhole(t *testing.T) {
	given := map[string]any{
		"whole": 3, "small": int8(-1), "largest": int64(1 << 53), "number": json.Number("3"), "half": 0.5,
		"vast": 1e300, "text": "dört", "yes": true, "nothing": nil, "list": []any{1, []string{"a"}},
		"typed": struct {
			Low int `json:"low"`
		}{4},
	}
	object, err := ToStruct(given)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"whole": int64(3), "small": int64(-1), "largest": int64(1 << 53), "number": int64(3), "half": 0.5,
		"vast": 1e300, "text": "dört", "yes": true, "nothing": nil, "list": []any{int64(1), []any{"a"}},
		"typed": map[string]any{"low": int64(4)},
	}
	if got := FromStruct(object); !reflect.DeepEqual(got, want) {
		t.Errorf("%#v", got)
	}
}

func TestWhatNoStructHolds(t *testing.T) {
	for place, value := range map[string]any{
		"a": int64(1<<53 + 1), "b": uint64(math.MaxUint64), "c": json.Number("-9007199254740993"),
		"d": json.Number("10000000000000000000000000"), "e": math.NaN(), "f": math.Inf(-1), "g": "\xff",
		"h": func() {}, "i": []any{json.Number("1e999")},
	} {
		_, err := ToStruct(map[string]any{"in": map[string]any{place: value}})
		if err == nil || !strings.HasPrefix(err.Error(), "in."+place) {
			t.Errorf("%v: %v", value, err)
		}
	}
	if _, err := ToStruct([]any{1}); FaultOf(err).CodeName() != "INVALID_ARGUMENT" {
		t.Error(err)
	}
}

func TestNothingIsAnEmptyObject(t *testing.T) {
	object, err := ToStruct(nil)
	if err != nil || len(object.Fields) != 0 || len(FromStruct(nil)) != 0 {
		t.Error(object, err)
	}
}
