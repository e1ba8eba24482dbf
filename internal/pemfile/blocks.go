package pemfile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	dashes = "-----"
	begin  = "-----BEGIN "
	end    = "-----END "
)

// block is one decoded block of a file.
type block struct {
	file       string
	line       int // of BEGIN, from 1
	kind       string
	hasHeaders bool // lines `Name: value` between BEGIN and the base64, as of an encrypted key
	bytes      []byte
}

// errorf returns an error about the block.
func (b block) errorf(format string, args ...any) error {
	return errorAt(b.file, b.line, format, args...)
}

func errorAt(file string, line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...))
}

// blocks returns all blocks of a file. Text outside them is allowed, such as what OpenSSL
// prints about a certificate, unless it contains five dashes: then a block was damaged.
func blocks(file string, data []byte) ([]block, error) {
	text, err := decodeText(file, data)
	if err != nil {
		return nil, err
	}
	var found []block
	var body []string
	open := false
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case !open && !strings.Contains(line, dashes):
		case !open:
			kind, ok := marker(line, begin)
			if !ok {
				return nil, outside(file, number, line)
			}
			found, body, open = append(found, block{file: file, line: number, kind: kind}), nil, true
		case !strings.Contains(line, dashes):
			body = append(body, line)
		default:
			current := &found[len(found)-1]
			kind, ok := marker(line, end)
			if !ok || kind != current.kind {
				return nil, unclosed(*current, number, line)
			}
			if err := current.decode(body); err != nil {
				return nil, err
			}
			open = false
		}
	}
	if open {
		return nil, found[len(found)-1].errorf("the block has no END line: the file is cut off; copy it again")
	}
	return found, nil
}

// decodeText returns the text of a file without a byte order mark.
func decodeText(file string, data []byte) (string, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return "", errorAt(file, 1, "the file is encoded as UTF-16: save it as UTF-8 or ASCII")
	}
	return string(bytes.TrimPrefix(data, []byte("\ufeff"))), nil
}

// marker returns the kind of block that a BEGIN or END line names. It returns false for any
// other line.
func marker(line, prefix string) (kind string, ok bool) {
	kind, ok = strings.CutPrefix(line, prefix)
	if !ok {
		return "", false
	}
	kind, ok = strings.CutSuffix(kind, dashes)
	return kind, ok && kind != "" && !strings.Contains(kind, dashes)
}

// outside is the error of a line with dashes that is in no block.
func outside(file string, number int, line string) error {
	switch _, closes := marker(line, end); {
	case closes:
		return errorAt(file, number, "an END line without its BEGIN line: part of the block is missing; copy it again")
	case strings.Contains(line, begin):
		return errorAt(file, number, "BEGIN must be alone on its line, from the first column to five dashes: add a line break, or remove what is around it, such as an invisible byte order mark")
	default:
		return errorAt(file, number, "a line with five dashes that is not a BEGIN line: a block is damaged; copy it again, or remove this line")
	}
}

// unclosed is the error of a line with dashes inside a block that is not the block's END.
func unclosed(open block, number int, line string) error {
	switch _, closes := marker(line, end); {
	case closes:
		return open.errorf("the END line, line %d, is of another type than the BEGIN line: part of the file is missing; copy it again", number)
	case strings.Contains(line, end) && strings.Contains(line, begin):
		return errorAt(open.file, number, "the END line of a block and the BEGIN line of the next are on one line: add a line break between them")
	case strings.Contains(line, begin):
		return open.errorf("the block has no END line before the next BEGIN, line %d: part of the file is missing; copy it again", number)
	default:
		return open.errorf("line %d has five dashes and is not the END line of the block: the block is damaged; copy it again", number)
	}
}

// decode takes the lines between BEGIN and END.
func (b *block) decode(lines []string) error {
	first := 0
	for first < len(lines) && strings.Contains(lines[first], ":") {
		b.hasHeaders = true
		first++
	}
	var text strings.Builder
	for i, line := range lines[first:] {
		if at := strings.IndexFunc(line, notBase64); at >= 0 {
			return errorAt(b.file, b.line+1+first+i, "a character that is not base64: the block that begins in line %d is damaged; copy it again", b.line)
		}
		text.WriteString(line)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(text.String())
	if err != nil || len(decoded) == 0 {
		return b.errorf("the base64 of the block is incomplete: characters or lines are missing; copy it again")
	}
	b.bytes = decoded
	return nil
}

// notBase64 reports whether a character cannot be part of base64. "=" is one: the decoder
// checks its place.
func notBase64(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '/' && r != '='
}
