// Package secretreveal is a lint rule: only the listed packages reveal secrets.
//
// In all other packages, the rule reports each call of the method Reveal of secret.Text, each use
// of this method as a value, and each use of an interface method Reveal, because a Text may
// implement the interface. Tests and test packages, whose name ends in "test", may reveal their own
// secrets.
package secretreveal

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
)

// Analyzer is the lint rule.
var Analyzer = &analysis.Analyzer{
	Name:     "secretreveal",
	Doc:      "report secrets that are revealed by a package that is not listed",
	Requires: []*analysis.Analyzer{inspect.Analyzer},
	Run:      run,
}

const (
	module   = "github.com/authmaterial/broker/"
	textPath = module + "internal/secret"
	method   = "Reveal"
)

// Each listed package may reveal secrets, for the given reason.
var allowed = map[string]string{
	module + "cmd/broker":                "the commands print or store a new static token",
	module + "internal/authentication":   "the package verifies bearer tokens of callers",
	module + "internal/broker":           "the package computes the version, an HMAC over the material",
	module + "internal/cache/redisstore": "the package encrypts tokens, and authenticates to Redis",
	module + "internal/console":          "the package authenticates to OpenID Connect issuers",
	module + "internal/exchange":         "the package finds the secrets that it must not print",
	module + "internal/fleetkeys":        "the package derives keys from a fleet key",
	module + "internal/management":       "the package checks and merges values, and returns public ones",
	module + "internal/rpc":              "the package returns the material to the caller",
	module + "internal/secret":           "the package compares and hashes secrets",
	module + "internal/store":            "the package encrypts values, and hashes requests",
	module + "internal/store/postgres":   "the package authenticates to PostgreSQL",
	module + "internal/strategies":       "the package computes material, and requests tokens from providers",
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
			pass.Reportf(selector.Sel.Pos(), "%s reveals a secret: only the packages listed in internal/lint/secretreveal may do that", types.ExprString(selector))
		}
	}
	return nil, nil
}

// reveals reports whether a function is the method Reveal of a Text, or of an interface that a Text
// may implement.
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
