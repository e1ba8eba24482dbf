package strictyaml

// cause is what an error of the parser means to the author of a file. The parser's
// own messages can quote the source.
type cause struct {
	sentence string
	// atBegin says that the place is where the construct begins, not where the parser
	// stopped.
	atBegin bool
	// unclosed is the bracket that began the construct, when that is worth saying.
	unclosed string
}

const (
	directive        = "a directive (a line that begins with %) cannot be used here: remove it"
	checkIndentation = ": check the indentation"
	cannotStart      = "found character that cannot start any token"
)

// byContext has the constructs of which every error means the same.
var byContext = map[string]cause{
	"while scanning a directive":       {sentence: directive, atBegin: true},
	"while scanning a %YAML directive": {sentence: directive, atBegin: true},
	"while scanning a %TAG directive":  {sentence: directive, atBegin: true},
	"while parsing a %TAG directive":   {sentence: directive, atBegin: true},
	"while scanning a tag":             {sentence: tagRefused, atBegin: true},
	"while parsing a tag":              {sentence: tagRefused, atBegin: true},
	"while scanning an anchor":         {sentence: anchorRefused, atBegin: true},
	"while scanning an alias":          {sentence: anchorRefused, atBegin: true},
	"while scanning a block scalar": {
		sentence: "after | or > there can be a digit, + and -, and nothing else on that line",
		atBegin:  true,
	},
}

var byMessage = map[string]cause{
	cannotStart: {sentence: "a value cannot begin with this character: put it in quotes"},
	"mapping values are not allowed in this context": {
		sentence: "a colon cannot stand here" + checkIndentation + ", or put the text in quotes"},
	"block sequence entries are not allowed in this context": {
		sentence: "a list item cannot stand here: begin a line with it, or put the text in quotes"},
	"mapping keys are not allowed in this context": {sentence: "a key cannot stand here" + checkIndentation},
	"could not find expected ':'":                  {sentence: "a key needs a colon and a space after it", atBegin: true},
	"did not find expected key":                    {sentence: "a key is expected here" + checkIndentation + " and the quotes"},
	"did not find expected '-' indicator":          {sentence: "a list item is expected here" + checkIndentation},
	"did not find expected node content":           {sentence: "a value is expected here"},
	"did not find expected ',' or ']'":             {sentence: "a comma or ] is expected here", unclosed: "["},
	"did not find expected ',' or '}'":             {sentence: "a comma or } is expected here", unclosed: "{"},
	"did not find expected <document start>":       {sentence: "does not belong to what is above" + checkIndentation},
	"did not find expected <document end> before directive": {
		sentence: directive},
	"found unexpected content after document-end marker": {
		sentence: "nothing can stand here, after the end of the document"},
	"found a comment without preceding whitespace": {sentence: "a comment needs a space before its #"},
	"found unexpected end of stream":               {sentence: "the quotes that begin here are never closed", atBegin: true},
	"found unexpected document indicator": {
		sentence: "the quotes that begin here are not closed before the document ends", atBegin: true},
	"found unknown escape character":              {sentence: `there is no such escape: write \\ for a backslash, or use single quotes`},
	"did not find expected hexadecimal number":    {sentence: "the escape needs hexadecimal digits"},
	"found invalid Unicode character escape code": {sentence: "the escape is no character of Unicode"},
	"found undefined tag handle":                  {sentence: tagRefused},
	"found incompatible YAML document":            {sentence: directive},
	"found duplicate %YAML directive":             {sentence: directive},
	"found duplicate %TAG directive":              {sentence: directive},
}
