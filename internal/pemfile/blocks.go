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
	// base64Characters include the padding character; the decoder checks that it is at the end.
	base64Characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)

type block struct {
	file       string
	line       int // the number of the BEGIN line, counted from 1
	kind       string
	hasHeaders bool     // whether lines of the form `Name: value` follow the BEGIN line, as in an encrypted key
	body       []string // the lines between BEGIN and END
	bytes      []byte   // the decoded body
}

func (b *block) errorf(format string, args ...any) error {
	return errorAt(b.file, b.line, format, args...)
}

func errorAt(file string, line int, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	if file == "" {
		return fmt.Errorf("line %d: %s", line, message)
	}
	return fmt.Errorf("%s:%d: %s", file, line, message)
}

// missing returns the error for a file without a block of the wanted kind.
func missing(file, what, kind string) error {
	subject := "the text"
	if file != "" {
		subject = file + ": the file"
	}
	return fmt.Errorf("%s has no %s in PEM: a line -----BEGIN %s----- is expected", subject, what, kind)
}

// blocks returns all PEM blocks of a file, ignoring lines outside the blocks, such as OpenSSL's
// description of a certificate. However, a line with five dashes outside a block is an error,
// because it belongs to a damaged block.
func blocks(file string, data []byte) ([]*block, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, errorAt(file, 1, "the file is encoded as UTF-16: save it as UTF-8 or ASCII")
	}
	var found []*block
	var open *block // the block that has begun but not ended; nil outside all blocks
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line = strings.TrimRight(line, " \t\r\n")
		kind := marked(line, begin)
		switch {
		case !strings.Contains(line, dashes):
			if open != nil {
				open.body = append(open.body, line)
			}
		case open == nil && kind != "":
			open = &block{file: file, line: number, kind: kind}
			found = append(found, open)
		case open == nil || marked(line, end) != open.kind:
			return nil, misplaced(open, file, number, line)
		default:
			if err := open.decode(); err != nil {
				return nil, err
			}
			open = nil
		}
	}
	if open != nil {
		return nil, open.errorf("the block has no END line: the file is cut off; copy it again")
	}
	return found, nil
}

// `marked` returns the kind of block that a BEGIN or END line names, or "" for any other line.
func marked(line, prefix string) string {
	kind, hasPrefix := strings.CutPrefix(line, prefix)
	kind, hasSuffix := strings.CutSuffix(kind, dashes)
	if !hasPrefix || !hasSuffix || strings.Contains(kind, dashes) {
		return ""
	}
	return kind
}

// `misplaced` returns the error for a line with dashes that neither begins nor ends a block.
func misplaced(open *block, file string, number int, line string) error {
	begins, ends := strings.Contains(line, begin), strings.Contains(line, end)
	switch {
	case open != nil && begins && ends:
		return errorAt(file, number, "the END line of a block and the BEGIN line of the next are on one line: add a line break between them")
	case open != nil:
		return open.errorf("line %d has five dashes and is not the END line of this block: part of the block is missing or damaged; copy it again", number)
	case begins && strings.Contains(line, `\n`):
		return errorAt(file, number, `the text has \n in place of its line breaks: write line breaks`)
	case begins:
		return errorAt(file, number, "BEGIN must be alone on its line, which must start in the first column and end with five dashes: add a line break, or remove other characters, such as an invisible byte order mark")
	case ends:
		return errorAt(file, number, "an END line without its BEGIN line: part of the block is missing; copy it again")
	default:
		return errorAt(file, number, "a line with five dashes that is not a BEGIN line: a block is damaged; copy it again, or remove this line")
	}
}

func (b *block) decode() error {
	var text strings.Builder
	for i, line := range b.body {
		switch {
		case text.Len() == 0 && strings.Contains(line, ":"):
			b.hasHeaders = true
		case strings.Trim(line, base64Characters) != "":
			return errorAt(b.file, b.line+1+i, "a character that is not base64: the block that begins in line %d is damaged; copy it again", b.line)
		default:
			text.WriteString(line)
		}
	}
	var err error
	b.bytes, err = base64.StdEncoding.Strict().DecodeString(text.String())
	if err != nil || len(b.bytes) == 0 {
		return b.errorf("the base64 of the block is incomplete: characters or lines are missing; copy it again")
	}
	return nil
}
