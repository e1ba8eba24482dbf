package strictyaml_test
import ("testing";"fmt";"time";"strings";"github.com/authmaterial/broker/internal/strictyaml")
func TestPlay(t *testing.T){
 run := func(name, s string){
  b:=time.Now()
  d := strictyaml.Parse("f",[]byte(s),config)
  p := problems(d)
  first := ""
  if len(p)>0 {first=p[0]}
  fmt.Println(name, len(s)>>20, "MB", time.Since(b), len(p), first)
 }
 var b strings.Builder
 b.WriteString("credentials:\n")
 for i:=range 100000 { fmt.Fprintf(&b,"  - id: cred-%d\n    provider: x\n    auth_method: api_key\n    labels: {team: growth}\n    allowed_hosts: [a.b.c, d.e.f]\n    values:\n      client_id: {env: FOO_%d}\n      client_secret:\n        value: \"%s\"\n",i,i,strings.Repeat("x",120)) }
 run("good", b.String())
 run("bad", strings.ReplaceAll(b.String(),"api_key","nope"))
 b.Reset(); b.WriteString("credentials: []\nlisten:\n"); for i:=range 1000000 { fmt.Fprintf(&b,"  key_%d: 1\n",i) }
 run("bigmap", b.String())
 run("comments", strings.Repeat("# foo bar baz\n", 2000000)+"credentials: []\n")
 run("comments2", "credentials:\n"+strings.Repeat("  - id: a # foo bar baz\n  # x\n\n  # y\n", 300000))
 run("brackets", strings.Repeat("[", 60<<20))
 run("flow", "a: "+strings.Repeat("[", 9000)+strings.Repeat("]",9000)+"\n")
 run("flows", "a:\n"+strings.Repeat("- "+strings.Repeat("[", 60)+strings.Repeat("]",60)+"\n",50000))
 run("longline", "credentials: "+strings.Repeat("x", 60<<20))
 run("longquoted", "credentials: \""+strings.Repeat("x\\n", 15<<20)+"\"")
 run("longfold", "credentials:\n"+strings.Repeat("  x y\n", 6<<20))
 run("digits", "credentials: "+strings.Repeat("1", 60<<20))
 run("exp", "credentials: 1e"+strings.Repeat("1", 60<<20))
 run("hex", "credentials: 0x"+strings.Repeat("1", 60<<20))
 run("dups", strings.Repeat("a: 1\n", 2<<20))
 run("questions", strings.Repeat("? ", 4000000))
 run("dashes", strings.Repeat("- ", 4000000))
 run("keys", "{"+strings.Repeat("a: ", 4000000))
 run("commas", "["+strings.Repeat("a,", 4000000))
 run("anchors", strings.Repeat("- &a b\n", 2000000))
 run("uniq", "credentials: [{id: a, provider: b, auth_method: api_key, allowed_hosts: ["+strings.Repeat("a,", 1000000)+"]}]")
 run("bigkey", strings.Repeat("k", 1000)+": 1\n")
 run("bigkey2", "? "+strings.Repeat("k", 10<<20)+"\n: 1\n")
 run("labels", "credentials:\n- id: a\n  labels:\n"+func() string{ var b strings.Builder; for i := range 300000 { fmt.Fprintf(&b,"    l%d: x\n", i)}; return b.String()}())
}
