// Package findings contains an example of everything that the rule reports.
package findings

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

func fmtPackage(w io.Writer, m *authmaterialv1.AuthDecoration) {
	fmt.Println(m)                // want `fmt.Println formats authmaterialv1.AuthDecoration: this shows secrets`
	fmt.Printf("%T %s\n", 1, m)   // want `fmt.Printf formats authmaterialv1.AuthDecoration`
	fmt.Fprintln(w, m)            // want `fmt.Fprintln formats`
	_ = fmt.Sprint("a", m)        // want `fmt.Sprint formats`
	_ = fmt.Errorf("no: %v", m)   // want `fmt.Errorf formats`
	_ = fmt.Appendf(nil, "%v", m) // want `fmt.Appendf formats`
	fmt.Println(m, m)             // want `fmt.Println formats authmaterialv1.AuthDecoration` `fmt.Println formats authmaterialv1.AuthDecoration`
}

func logPackage(l *log.Logger, m *authmaterialv1.Header) {
	log.Print(m)        // want `log.Print formats authmaterialv1.Header`
	l.Fatalf("%v", m)   // want `l.Fatalf formats`
	log.Panicln("a", m) // want `log.Panicln formats`
}

func slogPackage(ctx context.Context, l *slog.Logger, m *authmaterialv1.QueryParam) {
	slog.Info("m", "param", m)                                           // want `slog.Info formats authmaterialv1.QueryParam`
	l.ErrorContext(ctx, "m", "param", m)                                 // want `l.ErrorContext formats`
	l.LogAttrs(ctx, slog.LevelInfo, "m", slog.Any("param", m))           // want `slog.Any formats`
	_ = l.With("param", m)                                               // want `l.With formats`
	_ = slog.AnyValue(m)                                                 // want `slog.AnyValue formats`
	_ = slog.Attr{Key: "param", Value: slog.GroupValue(slog.Any("", m))} // want `slog.Any formats`
}

type problem struct{ error }

type problemOf struct {
	error
	Request *authmaterialv1.GetAuthDecorationRequest
}

func errorsPackage(err problemOf) error {
	return errors.Join(problem{}, err) // want `errors.Join formats authmaterialv1.GetAuthDecorationRequest`
}

func testingPackage(t *testing.T, b *testing.B, tb testing.TB, m *authmaterialv1.AuthDecoration) {
	t.Log(m)               // want `t.Log formats`
	t.Logf("%v", m)        // want `t.Logf formats`
	t.Error(m)             // want `t.Error formats`
	t.Errorf("got %v", m)  // want `t.Errorf formats`
	b.Fatal(m)             // want `b.Fatal formats`
	tb.Fatalf("got %v", m) // want `tb.Fatalf formats`
	tb.Skip(m)             // want `tb.Skip formats`
	tb.Skipf("%v", m)      // want `tb.Skipf formats`
}

func cmpPackage(a, b *authmaterialv1.AuthDecoration) string {
	return cmp.Diff(a, b) // want `cmp.Diff formats authmaterialv1.AuthDecoration` `cmp.Diff formats authmaterialv1.AuthDecoration`
}

func protoPackages(m *authmaterialv1.AuthDecoration) {
	_ = prototext.Format(m)                                 // want `prototext.Format formats`
	_, _ = prototext.Marshal(m)                             // want `prototext.Marshal formats`
	_ = prototext.MarshalOptions{}.Format(m)                // want `.Format formats`
	_ = protojson.Format(m)                                 // want `protojson.Format formats`
	_, _ = protojson.Marshal(m)                             // want `protojson.Marshal formats`
	_, _ = protojson.MarshalOptions{}.MarshalAppend(nil, m) // want `.MarshalAppend formats`
}

// The rule allows printMessage only in cmd/broker.
func printMessage(m proto.Message) {
	_ = protojson.Format(m) // want `protojson.Format formats a proto.Message`
}

func stringMethod(m *authmaterialv1.AuthDecoration) {
	_ = m.String()                                  // want `authmaterialv1.AuthDecoration.String shows secrets`
	_ = m.GetHeaders()[0].String                    // want `authmaterialv1.Header.String`
	_ = (*authmaterialv1.QueryParam).String         // want `authmaterialv1.QueryParam.String`
	_ = struct{ *authmaterialv1.Header }{}.String() // want `authmaterialv1.Header.String`
}

func panics(m *authmaterialv1.AuthDecoration) {
	panic(m) // want `panic formats authmaterialv1.AuthDecoration`
}

// The rule also finds functions of any package that pass their arguments on to a formatting
// function.

func explain(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func wrappers(m *authmaterialv1.AuthDecoration) error {
	_ = explain("got %v", m)                          // want `explain formats`
	return status.Errorf(codes.Internal, "for %v", m) // want `status.Errorf formats`
}

// The rule also finds values that contain a message, such as slices and structs.

type record struct {
	name string
	item *authmaterialv1.Header
}

type list []*authmaterialv1.Header

type node struct {
	next *node
	list list
}

type box[T any] struct{ content T }

type alias = authmaterialv1.Header

func request() (*authmaterialv1.GetAuthDecorationResponse, error) { return nil, nil }

func holders(result *authmaterialv1.AuthDecorationResult) {
	fmt.Println(*result.GetAuthDecoration())                     // want `formats authmaterialv1.AuthDecoration:`
	fmt.Println(&result)                                         // want `formats authmaterialv1.AuthDecorationResult:`
	fmt.Println(result.GetAuthDecoration().GetHeaders())         // want `formats authmaterialv1.Header:`
	fmt.Println([1]authmaterialv1.Header{})                      // want `formats authmaterialv1.Header:`
	fmt.Println(map[string]*authmaterialv1.Header{})             // want `formats authmaterialv1.Header:`
	fmt.Println(map[*authmaterialv1.Header]bool{})               // want `formats authmaterialv1.Header:`
	fmt.Println(record{})                                        // want `formats authmaterialv1.Header:`
	fmt.Println(&record{})                                       // want `formats authmaterialv1.Header:`
	fmt.Println(list{})                                          // want `formats authmaterialv1.Header:`
	fmt.Println(new(node))                                       // want `formats authmaterialv1.Header:`
	fmt.Println(box[*authmaterialv1.Header]{})                   // want `formats authmaterialv1.Header:`
	fmt.Println((*alias)(nil))                                   // want `formats authmaterialv1.Header:`
	fmt.Println(alias{})                                         // want `formats authmaterialv1.Header:`
	fmt.Println(result.GetResult())                              // want `formats authmaterialv1.isAuthDecorationResult_Result:`
	fmt.Println(&authmaterialv1.AuthDecorationResult_Error{})    // want `formats authmaterialv1.AuthDecorationError:`
	fmt.Println(request())                                       // want `formats authmaterialv1.GetAuthDecorationResponse:`
	fmt.Println(authmaterialv1.BatchGetAuthDecorationsRequest{}) // want `formats authmaterialv1.BatchGetAuthDecorationsRequest:`
}

// The rule also reports a message that the argument itself converts to an interface, as any(m)
// does.

func hidden(m *authmaterialv1.Header, unknown proto.Message) {
	fmt.Println(any(m))                   // want `formats authmaterialv1.Header:`
	fmt.Println((any)((m)), (any(m)))     // want `fmt.Println formats authmaterialv1.Header:` `fmt.Println formats authmaterialv1.Header:`
	fmt.Println([]any{"a", m}...)         // want `formats authmaterialv1.Header:`
	fmt.Println(map[string]any{"a": m})   // want `formats authmaterialv1.Header:`
	fmt.Println(map[any]string{m: "a"})   // want `formats authmaterialv1.Header:`
	fmt.Println(&struct{ any }{any: (m)}) // want `formats authmaterialv1.Header:`
	fmt.Println(proto.Message(m))         // want `formats authmaterialv1.Header:`
	fmt.Println(unknown)                  // want `fmt.Println formats a proto.Message: this shows secrets`
}
