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
	fmt.Println(m)                // want `fmt.Println is given authmaterialv1.AuthDecoration: formatting shows secrets`
	fmt.Printf("%T %s\n", 1, m)   // want `fmt.Printf is given authmaterialv1.AuthDecoration`
	fmt.Fprintln(w, m)            // want `fmt.Fprintln is given`
	_ = fmt.Sprint("a", m)        // want `fmt.Sprint is given`
	_ = fmt.Errorf("no: %v", m)   // want `fmt.Errorf is given`
	_ = fmt.Appendf(nil, "%v", m) // want `fmt.Appendf is given`
	fmt.Println(m, m)             // want `fmt.Println is given` `fmt.Println is given`
}

func logPackage(l *log.Logger, m *authmaterialv1.Header) {
	log.Print(m)        // want `log.Print is given authmaterialv1.Header`
	l.Fatalf("%v", m)   // want `l.Fatalf is given`
	log.Panicln("a", m) // want `log.Panicln is given`
}

func slogPackage(ctx context.Context, l *slog.Logger, m *authmaterialv1.QueryParam) {
	slog.Info("m", "param", m)                                           // want `slog.Info is given authmaterialv1.QueryParam`
	l.ErrorContext(ctx, "m", "param", m)                                 // want `l.ErrorContext is given`
	l.LogAttrs(ctx, slog.LevelInfo, "m", slog.Any("param", m))           // want `slog.Any is given`
	_ = l.With("param", m)                                               // want `l.With is given`
	_ = slog.AnyValue(m)                                                 // want `slog.AnyValue is given`
	_ = slog.Attr{Key: "param", Value: slog.GroupValue(slog.Any("", m))} // want `slog.Any is given`
}

type problem struct{ error }

type problemOf struct {
	error
	Request *authmaterialv1.GetAuthDecorationRequest
}

func errorsPackage(err problemOf) error {
	return errors.Join(problem{}, err) // want `errors.Join is given authmaterialv1.GetAuthDecorationRequest`
}

func testingPackage(t *testing.T, b *testing.B, tb testing.TB, m *authmaterialv1.AuthDecoration) {
	t.Log(m)               // want `t.Log is given`
	t.Logf("%v", m)        // want `t.Logf is given`
	t.Error(m)             // want `t.Error is given`
	t.Errorf("got %v", m)  // want `t.Errorf is given`
	b.Fatal(m)             // want `b.Fatal is given`
	tb.Fatalf("got %v", m) // want `tb.Fatalf is given`
	tb.Skip(m)             // want `tb.Skip is given`
	tb.Skipf("%v", m)      // want `tb.Skipf is given`
}

func cmpPackage(a, b *authmaterialv1.AuthDecoration) string {
	return cmp.Diff(a, b) // want `cmp.Diff is given` `cmp.Diff is given`
}

func protoPackages(m *authmaterialv1.AuthDecoration) {
	_ = prototext.Format(m)                                 // want `prototext.Format is given`
	_, _ = prototext.Marshal(m)                             // want `prototext.Marshal is given`
	_ = prototext.MarshalOptions{}.Format(m)                // want `.Format is given`
	_ = protojson.Format(m)                                 // want `protojson.Format is given`
	_, _ = protojson.Marshal(m)                             // want `protojson.Marshal is given`
	_, _ = protojson.MarshalOptions{}.MarshalAppend(nil, m) // want `.MarshalAppend is given`
}

// The rule allows printMessage only in cmd/broker.
func printMessage(m proto.Message) {
	_ = protojson.Format(m) // want `protojson.Format is given a proto.Message`
}

func stringMethod(m *authmaterialv1.AuthDecoration) {
	_ = m.String()                                  // want `String of authmaterialv1.AuthDecoration: it shows secrets`
	_ = m.GetHeaders()[0].String                    // want `String of authmaterialv1.Header`
	_ = (*authmaterialv1.QueryParam).String         // want `String of authmaterialv1.QueryParam`
	_ = struct{ *authmaterialv1.Header }{}.String() // want `String of authmaterialv1.Header`
}

func panics(m *authmaterialv1.AuthDecoration) {
	panic(m) // want `panic is given authmaterialv1.AuthDecoration`
}

// The rule also finds functions of any package that pass their arguments on to a formatting
// function.

func explain(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func wrappers(m *authmaterialv1.AuthDecoration) error {
	_ = explain("got %v", m)                          // want `explain is given`
	return status.Errorf(codes.Internal, "for %v", m) // want `status.Errorf is given`
}

// These types contain a message.

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
	fmt.Println(*result.GetAuthDecoration())                     // want `given authmaterialv1.AuthDecoration:`
	fmt.Println(&result)                                         // want `given authmaterialv1.AuthDecorationResult:`
	fmt.Println(result.GetAuthDecoration().GetHeaders())         // want `given authmaterialv1.Header:`
	fmt.Println([1]authmaterialv1.Header{})                      // want `given authmaterialv1.Header:`
	fmt.Println(map[string]*authmaterialv1.Header{})             // want `given authmaterialv1.Header:`
	fmt.Println(map[*authmaterialv1.Header]bool{})               // want `given authmaterialv1.Header:`
	fmt.Println(record{})                                        // want `given authmaterialv1.Header:`
	fmt.Println(&record{})                                       // want `given authmaterialv1.Header:`
	fmt.Println(list{})                                          // want `given authmaterialv1.Header:`
	fmt.Println(new(node))                                       // want `given authmaterialv1.Header:`
	fmt.Println(box[*authmaterialv1.Header]{})                   // want `given authmaterialv1.Header:`
	fmt.Println((*alias)(nil))                                   // want `given authmaterialv1.Header:`
	fmt.Println(alias{})                                         // want `given authmaterialv1.Header:`
	fmt.Println(result.GetResult())                              // want `given authmaterialv1.isAuthDecorationResult_Result:`
	fmt.Println(&authmaterialv1.AuthDecorationResult_Error{})    // want `given authmaterialv1.AuthDecorationError:`
	fmt.Println(request())                                       // want `given authmaterialv1.GetAuthDecorationResponse:`
	fmt.Println(authmaterialv1.BatchGetAuthDecorationsRequest{}) // want `given authmaterialv1.BatchGetAuthDecorationsRequest:`
}

// An interface hides the type of a message, but the expression of the argument shows the type.

func hidden(m *authmaterialv1.Header, unknown proto.Message) {
	fmt.Println(any(m))                   // want `given authmaterialv1.Header:`
	fmt.Println((any)((m)), (any(m)))     // want `given authmaterialv1.Header:` `given authmaterialv1.Header:`
	fmt.Println([]any{"a", m}...)         // want `given authmaterialv1.Header:`
	fmt.Println(map[string]any{"a": m})   // want `given authmaterialv1.Header:`
	fmt.Println(map[any]string{m: "a"})   // want `given authmaterialv1.Header:`
	fmt.Println(&struct{ any }{any: (m)}) // want `given authmaterialv1.Header:`
	fmt.Println(proto.Message(m))         // want `given authmaterialv1.Header:`
	fmt.Println(unknown)                  // want `given a proto.Message:`
}
