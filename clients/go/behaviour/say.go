package main

import (
	"encoding/json"
	"os"

	metagov "metagov.org/go"
)

type line map[string]any

func say(what line) {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(what); err != nil {
		panic(err)
	}
}

func describe(err error) line {
	fault := metagov.FaultOf(err)
	described := line{
		"code":        fault.CodeName(),
		"reason":      fault.Reason,
		"message":     fault.Message,
		"fields":      orEmpty(fault.Fields),
		"metadata":    orEmpty(fault.Metadata),
		"retry_delay": nil,
		"advice":      fault.Advice,
	}
	if fault.RetryDelay > 0 {
		described["retry_delay"] = fault.RetryDelay.Seconds()
	}
	return described
}

func orEmpty(texts map[string]string) map[string]string {
	if texts == nil {
		return map[string]string{}
	}
	return texts
}
