// Package jsonbody finds values in HTTP bodies in JSON.
package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// Body is the content of a body, which may be JSON. The zero Body is not JSON.
type Body struct {
	value  any
	isJSON bool
}

// Decode decodes a body. A body is JSON if it is one JSON value with optional white space around it.
func Decode(text []byte) Body {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return Body{}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Body{}
	}
	return Body{value, true}
}

// IsJSON reports whether the body is JSON.
func (b Body) IsJSON() bool { return b.isJSON }

// Find returns the value at a path. A number is a json.Number. A step is the name of a member of an
// object, or the index of an element of an array, in decimal digits from 0 without leading zeros.
func (b Body) Find(steps []string) (value any, found bool) {
	value, found = b.value, b.isJSON
	for _, step := range steps {
		switch outer := value.(type) {
		case map[string]any:
			value, found = outer[step]
		case []any:
			index, err := strconv.Atoi(step)
			if err != nil || strconv.Itoa(index) != step || index < 0 || index >= len(outer) {
				return nil, false
			}
			value = outer[index]
		default:
			return nil, false
		}
		if !found {
			return nil, false
		}
	}
	return value, found
}

// Equal reports whether a value that Find returned equals a string, a float64 or a bool. Values of
// different types differ. Numbers are compared as float64.
func Equal(value, scalar any) bool {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		return err == nil && number == scalar
	case string, bool:
		return value == scalar
	}
	return false
}
