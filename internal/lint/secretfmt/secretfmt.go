// Package secretfmt is a lint rule: code must not format messages of authmaterial.v1 as text.
//
// Messages of authmaterial.v1 contain secrets, which Go's String method and %v print. The rule
// reports every place where such a message, or a value that can contain one, is passed to a
// function that formats it, whatever the formatting verb is. Instead, format a single field of the
// message, or compare messages with proto.Equal. Only a few listed functions may format messages.
//
// The rule covers every message of the package. Comments in the proto file mark the fields with
// secrets, and TestSecretFields checks these comments.
//
// The rule looks at the type of an argument where the argument is passed, so the rule cannot find a
// message that was stored in a variable of type any before the call.
package secretfmt

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/analysis/passes/printf"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"
)

// Analyzer is the lint rule.
var Analyzer = &analysis.Analyzer{
	Name: "secretfmt",
	Doc: "report messages of authmaterial.v1 that are formatted or logged\n\n" +
		"The messages contain secrets, which Go's String method and %v print.",
	Requires: []*analysis.Analyzer{inspect.Analyzer, printf.Analyzer},
	Run:      run,
}

// formatters are the functions and methods that format their arguments, by package and name. An
// empty list of names stands for all functions of the package. Functions of the packages fmt, log
// and testing are not listed, because the printf analyzer knows these functions and finds functions
// that pass their arguments on to them.
var formatters = map[string][]string{
	"errors":                       nil,
	"log/slog":                     nil,
	"github.com/google/go-cmp/cmp": {"Diff"},
	"google.golang.org/protobuf/encoding/protojson": {"Format", "Marshal", "MarshalAppend"},
	"google.golang.org/protobuf/encoding/prototext": {"Format", "Marshal", "MarshalAppend"},
}

// Each listed function may format messages, for the given reason.
var allowed = map[string]string{
	"github.com/authmaterial/broker/cmd/broker.printMessage":                     "the function prints the response that the user of the command asked for",
	"github.com/authmaterial/broker/cmd/broker.plainJSON":                        "the function encodes responses of CredentialService, which contain no secrets",
	"(github.com/authmaterial/broker/internal/rpc.jsonCodec).Marshal":            "the function encodes the response to a caller over HTTP",
	"github.com/authmaterial/broker/internal/testing/clientworld.decorationJSON": "the function encodes an invented decoration for a test",
}

func run(pass *analysis.Pass) (any, error) {
	nodes := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector)
	for cursor := range nodes.Root().Preorder((*ast.CallExpr)(nil), (*ast.SelectorExpr)(nil)) {
		if isAllowed(pass, cursor) {
			continue
		}
		switch node := cursor.Node().(type) {
		case *ast.CallExpr:
			checkCall(pass, node)
		case *ast.SelectorExpr:
			checkString(pass, node)
		}
	}
	return nil, nil
}

func isAllowed(pass *analysis.Pass, cursor inspector.Cursor) bool {
	for function := range cursor.Enclosing((*ast.FuncDecl)(nil)) {
		if object, ok := pass.TypesInfo.Defs[function.Node().(*ast.FuncDecl).Name].(*types.Func); ok {
			_, found := allowed[object.FullName()]
			return found
		}
	}
	return false
}

// checkCall reports each argument of a formatting function that can contain a message of
// authmaterial.v1.
func checkCall(pass *analysis.Pass, call *ast.CallExpr) {
	callee := typeutil.Callee(pass.TypesInfo, call)
	if callee == nil || !isFormatting(pass, callee) {
		return
	}
	for _, arg := range call.Args {
		for _, part := range parts(pass.TypesInfo, arg) {
			if name := messageIn(pass.TypesInfo.TypeOf(part)); name != "" {
				pass.Reportf(part.Pos(), "%s formats %s: this shows secrets",
					types.ExprString(call.Fun), name)
			}
		}
	}
}

// checkString reports each call of a message's String method, and each use of the method as a
// value.
func checkString(pass *analysis.Pass, selector *ast.SelectorExpr) {
	method, ok := pass.TypesInfo.Uses[selector.Sel].(*types.Func)
	if !ok || method.Name() != "String" || method.Signature().Recv() == nil {
		return
	}
	if name := messageName(method.Signature().Recv().Type()); name != "" {
		pass.Reportf(selector.Sel.Pos(), "%s.String shows secrets", name)
	}
}

// isFormatting reports whether a function formats its arguments. The builtin function panic formats
// its argument too: when a panic ends the program, Go prints the argument with its String method.
func isFormatting(pass *analysis.Pass, callee types.Object) bool {
	if builtin, ok := callee.(*types.Builtin); ok {
		return builtin.Name() == "panic"
	}
	function, ok := callee.(*types.Func)
	if !ok || function.Pkg() == nil {
		return false
	}
	names, known := formatters[function.Pkg().Path()]
	if known && (names == nil || slices.Contains(names, function.Name())) {
		return true
	}
	return pass.ResultOf[printf.Analyzer].(*printf.Result).Kind(function) != printf.KindNone
}

// parts returns the expressions whose types decide what arg can contain, including the m in any(m)
// and []any{m}, where an interface hides the type of m.
func parts(info *types.Info, arg ast.Expr) []ast.Expr {
	switch arg := ast.Unparen(arg).(type) {
	case *ast.CallExpr:
		if info.Types[arg.Fun].IsType() && types.IsInterface(info.TypeOf(arg)) {
			return parts(info, arg.Args[0])
		}
	case *ast.UnaryExpr:
		if arg.Op == token.AND {
			return parts(info, arg.X)
		}
	case *ast.CompositeLit:
		if messageIn(info.TypeOf(arg)) != "" {
			break
		}
		var all []ast.Expr
		for _, element := range arg.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				all = append(all, parts(info, pair.Key)...)
				element = pair.Value
			}
			all = append(all, parts(info, element)...)
		}
		return all
	}
	return []ast.Expr{arg}
}
