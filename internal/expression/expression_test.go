package expression_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/expression"
)

func newEnvironment(t testing.TB) *expression.Environment {
	t.Helper()
	env, err := expression.NewEnvironment(
		expression.Variable{Name: "user"},
		expression.Variable{Name: "password"},
		expression.Variable{Name: "email", Optional: true},
		expression.Variable{Name: "region", Optional: true},
	)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestEvaluate(t *testing.T) {
	values := map[string]string{"user": "ann", "password": "s}c", "email": "ann@example.test"}
	for _, test := range []struct {
		text, want string
		leftOut    bool
		uses       []string
	}{
		{text: "", want: ""},
		{text: "plain", want: "plain"},
		{text: "Bearer ${user}", want: "Bearer ann", uses: []string{"user"}},
		{text: "${user}${ password }.", want: "anns}c.", uses: []string{"user", "password"}},
		{text: "Basic ${base64(user + ':' + password)}", want: "Basic YW5uOnN9Yw==", uses: []string{"user", "password"}},
		{text: `${"}" + user + '\'}'}`, want: "}ann'}", uses: []string{"user"}},
		{text: "${'https://' + user}//", want: "https://ann//", uses: []string{"user"}},
		{text: "${'$' + '{'}literal}", want: "${literal}"},
		{text: "$user {user}", want: "$user {user}"},
		{text: "${email}", want: "ann@example.test", uses: []string{"email"}},
		{text: "${region}", leftOut: true, uses: []string{"region"}},
		{text: "x-${'a' + region}", leftOut: true, uses: []string{"region"}},
		{text: "${region.orValue('eu')}", want: "eu", uses: []string{"region"}},
		{text: "${email.orValue('nobody')}", want: "ann@example.test", uses: []string{"email"}},
		{text: "${region.orValue(email)}", want: "ann@example.test", uses: []string{"region", "email"}},
		{text: "${email.orValue(region)}", leftOut: true, uses: []string{"email", "region"}},
		{text: "${region.orValue('eu') + region}", leftOut: true, uses: []string{"region"}},
		{text: "é${user}", want: "éann", uses: []string{"user"}},
	} {
		t.Run(test.text, func(t *testing.T) {
			template, problems := newEnvironment(t).Compile(test.text)
			if problems != nil {
				t.Fatalf("problems: %v", problems)
			}
			got, ok, err := template.Evaluate(values)
			if err != nil || ok == test.leftOut || got != test.want {
				t.Errorf("Evaluate returns %q, %v and the error %v; want %q, %v", got, ok, err, test.want, !test.leftOut)
			}
			if !slices.Equal(template.Uses(), test.uses) {
				t.Errorf("Uses returns the names %q, want %q", template.Uses(), test.uses)
			}
		})
	}
}

func TestCompileReportsEveryProblemWithItsPlace(t *testing.T) {
	const functions = "base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text)"
	const names = "user, password, email, region, " + functions + ", field.orValue(text)"
	const notExpression = "this is not an expression: use fields, quoted text, `+`, " + functions + " and field.orValue(text)"
	const onlyStrings = "only strings can be used here: fields, quoted text, `+`, " + functions + " and field.orValue(text)"
	for _, test := range []struct {
		text string
		want []expression.Problem
	}{
		{"Bearer ${tokn}", []expression.Problem{{9, `unknown field or function; there are: ` + names}}},
		{"é${tokn}", []expression.Problem{{4, `unknown field or function; there are: ` + names}}},
		{"${a} ${user} ${b}", []expression.Problem{
			{2, `unknown field or function; there are: ` + names},
			{15, `unknown field or function; there are: ` + names},
		}},
		{"${'é' + tokn}", []expression.Problem{{9, `unknown field or function; there are: ` + names}}},
		{"${user +\n tokn}", []expression.Problem{{10, `unknown field or function; there are: ` + names}}},
		{"a${user", []expression.Problem{{1, "`${` without its `}`"}}},
		{"a${'}", []expression.Problem{{1, "`${` without its `}`"}}},
		{"a${user // b} c", []expression.Problem{{8, "an expression cannot contain a comment, which begins with `//`; if this is text, write it in quotes or outside the `${ }`"}}},
		{"${}", []expression.Problem{{2, "`${}` holds no expression"}}},
		{"${ }", []expression.Problem{{2, "`${}` holds no expression"}}},
		{"${1}", []expression.Problem{{2, "the expression is not a string"}}},
		{"${user + 1}", []expression.Problem{{7, onlyStrings}}},
		{"${user.orValue('x')}", []expression.Problem{{2, "orValue() may only follow the name of an optional field"}}},
		{"${size(user)}", []expression.Problem{{6, `unknown field or function; there are: ` + names}}},
		{"a${" + strings.Repeat("(", 40) + "user" + strings.Repeat(")", 40) + "}", []expression.Problem{{3, notExpression}}},
		{"a${" + strings.Repeat("[", 40) + "}", []expression.Problem{{3, notExpression}}},
		{"a${" + strings.Repeat("user + ", 1000) + "user}", []expression.Problem{{3, notExpression}}},
		{"${user canary}", []expression.Problem{{7, notExpression}}},
		{"${user == 'a' ? user : password}", nil},
		{"${[user].map(x, x)}", nil},
		{"${user.matches('a')}", nil},
	} {
		t.Run(test.text, func(t *testing.T) {
			template, problems := newEnvironment(t).Compile(test.text)
			if template != nil || len(problems) == 0 {
				t.Fatalf("Compile returns the template %v and %d problems, want problems and no template", template, len(problems))
			}
			if test.want != nil && !slices.Equal(problems, test.want) {
				t.Errorf("the problems are\n%+v\nwant\n%+v", problems, test.want)
			}
		})
	}
}

func TestEvaluateIsBounded(t *testing.T) {
	text := "${" + strings.Repeat("base64(", 30) + "user" + strings.Repeat(")", 30) + "}"
	template, problems := newEnvironment(t).Compile(text)
	if problems != nil {
		t.Fatal(problems)
	}
	canary := strings.Repeat("canary", 2000)
	_, _, err := template.Evaluate(map[string]string{"user": canary})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("the error is %v", err)
	}
}

func TestNewEnvironmentRefusesNames(t *testing.T) {
	for _, name := range []string{"", "in", "true", "for", "a.in", "a..b", ".a", "a.", "a-b", "1a", "a b"} {
		if _, err := expression.NewEnvironment(expression.Variable{Name: name}); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	twice := expression.Variable{Name: "user"}
	if _, err := expression.NewEnvironment(twice, twice); err == nil {
		t.Error("a duplicate name was accepted")
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{"Bearer ${user}", "${base64(user + ':' + password)}", "${region.orValue('}')}", "${", "${'", "${json('{}', 'a')}", "${upper(sha256(user))}", "a${b}c${d", "${((((((((((((((((((((((((((((((((((((user))))))))))))))))))))))))))))))))))))}"} {
		f.Add(seed)
	}
	env := newEnvironment(f)
	f.Fuzz(func(t *testing.T, text string) {
		template, problems := env.Compile(text)
		if (template == nil) == (problems == nil) {
			t.Fatalf("Compile returned a template and problems, or neither: %v, %v", template, problems)
		}
		for _, problem := range problems {
			if problem.Offset < 0 || problem.Offset > len(text) || problem.Message == "" {
				t.Errorf("the problem %+v has no message, or an offset outside the text", problem)
			}
		}
		if template == nil {
			return
		}
		got, ok, err := template.Evaluate(map[string]string{"user": "u", "password": "p", "email": "e", "region": "r"})
		if err != nil && strings.Contains(err.Error(), "(): ") {
			return // the argument of a function is not JSON or not a key
		}
		if err != nil || !ok {
			t.Errorf("although all variables have values, the template cannot be evaluated: %v, %v", ok, err)
		}
		if !strings.Contains(text, "${") && got != text {
			t.Errorf("a text without expressions became %q", got)
		}
	})
}
