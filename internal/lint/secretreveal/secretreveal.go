// Package secretreveal is a lint rule: few packages reveal secrets.
//
// It reports each use of secret.Text's method Reveal, called or as a value, and each use
// of an interface's method that a Text would have, outside the packages that the rule
// lists. Tests, and packages of test parts, whose name ends in "test", may reveal what
// they made up.
package secretreveal

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
)

// Analyzer is the rule.
var Analyzer = &analysis.Analyzer{
	Name:     "secretreveal",
	Doc:      "report secrets that are revealed by a package that has no business with them",
	Requires: []*analysis.Analyzer{inspect.Analyzer},
	Run:      run,
}

const (
	module   = "github.com/authmaterial/broker/"
	textPath = module + "internal/secret"
	method   = "Reveal"
)

// allowed are the packages that may reveal, each with what for.
var allowed = map[string]string{
	module + "cmd/broker":                "prints a new static token",
	module + "internal/authentication":   "checks what callers prove themselves with",
	module + "internal/broker":           "makes the version, an HMAC over the material",
	module + "internal/cache/redisstore": "seals tokens, and logs on to Redis",
	module + "internal/fleetkeys":        "derives keys from a fleet key",
	module + "internal/rpc":              "answers the caller",
	module + "internal/secret":           "compares and hashes",
	module + "internal/strategies":       "makes material, and asks providers for tokens",
}

func run(pass *analysis.Pass) (any, error) {
	path := strings.TrimSuffix(pass.Pkg.Path(), "_test")
	if _, found := allowed[path]; found || strings.HasSuffix(pass.Pkg.Name(), "test") {
		return nil, nil
	}
	nodes := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector)
	for node := range nodes.PreorderSeq((*ast.SelectorExpr)(nil)) {
		selector := node.(*ast.SelectorExpr)
		if strings.HasSuffix(pass.Fset.Position(selector.Pos()).Filename, "_test.go") {
			continue
		}
		if used, ok := pass.TypesInfo.Uses[selector.Sel].(*types.Func); ok && reveals(used) {
			pass.Reportf(selector.Sel.Pos(), "%s reveals a secret: internal/lint/secretreveal lists the packages that may", types.ExprString(selector))
		}
	}
	return nil, nil
}

// reveals reports whether a function is the method of a Text, or of an interface that a Text
// may stand behind.
func reveals(function *types.Func) bool {
	receiver := function.Signature().Recv()
	if receiver == nil || function.Name() != method {
		return false
	}
	if types.IsInterface(receiver.Type()) {
		return true
	}
	return function.Pkg().Path() == textPath
}
