package secretfmt

import (
	"go/types"

	"golang.org/x/tools/go/types/typeutil"
)

const (
	// messagesPath is the path of the Go package that declares the protobuf messages with secrets.
	messagesPath = "github.com/authmaterial/broker/gen/authmaterial/v1"

	// protoPath is the path of the Go package that declares the interface of all protobuf messages.
	protoPath = "google.golang.org/protobuf/reflect/protoreflect"
)

// messageIn returns the name of the protobuf message that is printed when a value of type t is
// formatted: the value itself, or the first message that the value contains or points to. The name
// is empty if no such message is printed.
func messageIn(t types.Type) string {
	if named, ok := types.Unalias(t).(*types.Named); ok && isProtoMessage(named) {
		return "a proto.Message"
	}
	return search(t, new(typeutil.Map))
}

// search does the work of messageIn, and visits each type only once, so that it also ends for
// recursive types.
func search(t types.Type, seen *typeutil.Map) string {
	if t == nil || seen.Set(t, true) != nil {
		return ""
	}
	if name := messageName(t); name != "" {
		return name
	}
	switch t := t.Underlying().(type) {
	case *types.Pointer:
		return search(t.Elem(), seen)
	case *types.Slice:
		return search(t.Elem(), seen)
	case *types.Array:
		return search(t.Elem(), seen)
	case *types.Map:
		if name := search(t.Key(), seen); name != "" {
			return name
		}
		return search(t.Elem(), seen)
	case *types.Struct:
		for field := range t.Fields() {
			if name := search(field.Type(), seen); name != "" {
				return name
			}
		}
	case *types.Tuple: // the results of a call, such as f() in fmt.Println(f())
		for result := range t.Variables() {
			if name := search(result.Type(), seen); name != "" {
				return name
			}
		}
	}
	return ""
}

// messageName returns the name of a message, of a message to which t points, or of the interface of
// a oneof. For any other type, messageName returns "".
func messageName(t types.Type) string {
	t = types.Unalias(t)
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, ok := t.(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != messagesPath {
		return ""
	}
	if !isGeneratedMessage(named) && !isOneof(named) {
		return ""
	}
	return named.Obj().Pkg().Name() + "." + named.Obj().Name()
}

func isGeneratedMessage(named *types.Named) bool {
	if _, ok := named.Underlying().(*types.Struct); !ok {
		return false
	}
	method, _, _ := types.LookupFieldOrMethod(types.NewPointer(named), false, named.Obj().Pkg(), "ProtoReflect")
	return method != nil
}

// isOneof reports whether a type is the interface that protoc-gen-go generates for a oneof. Such an
// interface has a single method, whose name is the name of the interface.
func isOneof(named *types.Named) bool {
	methods, ok := named.Underlying().(*types.Interface)
	return ok && methods.NumMethods() == 1 && methods.Method(0).Name() == named.Obj().Name()
}

// isProtoMessage reports whether a type is the interface proto.Message, which can contain any
// protobuf message.
func isProtoMessage(named *types.Named) bool {
	object := named.Obj()
	return object.Pkg() != nil && object.Pkg().Path() == protoPath && object.Name() == "ProtoMessage"
}
