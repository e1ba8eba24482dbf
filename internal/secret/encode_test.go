package secret_test

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/authmaterial/broker/internal/secret"
)

func places() map[string]any {
	text := secret.New(canary)
	return map[string]any{
		"itself":     text,
		"pointer":    &text,
		"in any":     struct{ Key any }{text},
		"field":      newHolder(),
		"unexported": struct{ key secret.Text }{text},
		"pointer to": struct{ Key *secret.Text }{&text},
		"embedded":   struct{ secret.Text }{text},
		"slice":      []secret.Text{text},
		"slice any":  []any{text, &text},
		"array":      [1]secret.Text{text},
		"map":        map[string]secret.Text{"a": text},
		"map key":    map[secret.Text]string{text: "a"},
		"nested":     map[string]any{"a": []any{struct{ Deep []*secret.Text }{[]*secret.Text{&text}}}},
	}
}

func forms() []string {
	numbers := strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]")
	return []string{
		canary, hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))),
		base64.RawStdEncoding.EncodeToString([]byte(canary)), numbers, strings.ReplaceAll(numbers, " ", ","),
	}
}

func checkAbsent(t *testing.T, what string, out []byte) {
	t.Helper()
	for _, form := range forms() {
		if bytes.Contains(out, []byte(form)) {
			t.Errorf("%s shows the secret", what)
		}
	}
}

func TestTextIsRedactedByEveryPrinter(t *testing.T) {
	for place, value := range places() {
		for _, verb := range strings.Fields("%v %+v %#v %s %+s %q %+q %#q %x %X %#x % x %d %b %o %O %c %U %t %e %g %p %T %w %! %10.3v %-20s") {
			checkAbsent(t, verb+" of "+place, fmt.Appendf(nil, verb, value))
		}
		checkAbsent(t, "Errorf of "+place, []byte(fmt.Errorf("%v", value).Error()))
		for name, print := range map[string]func(io.Writer) error{
			"text/template": func(w io.Writer) error {
				return template.Must(template.New("").Parse(`{{.}} {{printf "%#v" .}}`)).Execute(w, value)
			},
			"html/template": func(w io.Writer) error {
				return htmltemplate.Must(htmltemplate.New("").Parse(`<a href="{{.}}">{{.}}</a>`)).Execute(w, value)
			},
			"html/template's script": func(w io.Writer) error {
				return htmltemplate.Must(htmltemplate.New("").Parse(`<script>let a = {{.}}</script>`)).Execute(w, value)
			},
			"slog as text": func(w io.Writer) error {
				slog.New(slog.NewTextHandler(w, nil)).Info("m", "value", value, slog.Group("g", "value", value))
				return nil
			},
			"slog as JSON": func(w io.Writer) error {
				slog.New(slog.NewJSONHandler(w, nil)).With("with", value).Info("m", "value", value, slog.Group("g", "value", value))
				return nil
			},
		} {
			var out bytes.Buffer
			err := print(&out)
			checkAbsent(t, fmt.Sprintf("%s of %s", name, place), append(out.Bytes(), fmt.Sprint(err)...))
		}
	}
}

func TestTextIsRefusedByEveryEncoder(t *testing.T) {
	for place, value := range places() {
		for name, encode := range map[string]func(io.Writer) error{
			"json": func(w io.Writer) error { return json.NewEncoder(w).Encode(value) },
			"yaml": func(w io.Writer) error { return yaml.NewEncoder(w).Encode(value) },
			"xml":  func(w io.Writer) error { return xml.NewEncoder(w).Encode(value) },
			"gob":  func(w io.Writer) error { return gob.NewEncoder(w).Encode(value) },
		} {
			var out bytes.Buffer
			err := func() (err error) { // some encoders panic
				defer func() {
					if thrown := recover(); thrown != nil {
						err = fmt.Errorf("panic: %v", thrown)
					}
				}()
				return encode(&out)
			}()
			checkAbsent(t, name+" of "+place, append(out.Bytes(), fmt.Sprint(err)...))
			if exported := place != "unexported"; exported && err == nil {
				t.Errorf("%s of %s succeeded", name, place)
			}
		}
	}
	var text any = secret.New(canary)
	for name, marshal := range map[string]func() ([]byte, error){
		"text":   text.(encoding.TextMarshaler).MarshalText,
		"JSON":   text.(json.Marshaler).MarshalJSON,
		"binary": text.(encoding.BinaryMarshaler).MarshalBinary,
		"gob":    text.(gob.GobEncoder).GobEncode,
	} {
		if out, err := marshal(); err == nil || len(out) > 0 {
			t.Errorf("the secret is marshalled as %s", name)
		}
	}
}

// TestTextIsRedactedByReflection uses printers that follow pointers without calling methods, as
// go-cmp does when the String methods of two values return the same result.
func TestTextIsRedactedByReflection(t *testing.T) {
	one, two := secret.New(canary), secret.New(canary+"2")
	allow := cmp.Exporter(func(reflect.Type) bool { return true })
	for _, pair := range [][2]any{
		{one, two}, {&one, &two}, {[]any{one}, []any{two}},
		{newHolder(), holder{Public: "public", Key: two, key: two}},
	} {
		diff := cmp.Diff(pair[0], pair[1], allow)
		if diff == "" {
			t.Error("the printed difference of two values is empty")
		}
		checkAbsent(t, "cmp.Diff", []byte(diff))
	}
	for place, value := range places() {
		var out bytes.Buffer
		walk(&out, reflect.ValueOf(value), 0)
		checkAbsent(t, "a walk over "+place, out.Bytes())
	}
}

func walk(out *bytes.Buffer, value reflect.Value, depth int) {
	if !value.IsValid() || depth > 20 {
		return
	}
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		walk(out, value.Elem(), depth+1)
	case reflect.Struct:
		for i := range value.NumField() {
			walk(out, value.Field(i), depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			walk(out, value.Index(i), depth+1)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			walk(out, key, depth+1)
			walk(out, value.MapIndex(key), depth+1)
		}
	case reflect.String:
		out.WriteString(value.String())
	default:
		_, _ = fmt.Fprintf(out, "%v", value.Kind())
	}
}
