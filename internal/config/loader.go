package config

import (
	"bytes"
	"crypto/sha256"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/authmaterial/broker/internal/yamlfile"
)

// Loader loads the same configuration file repeatedly, and parses only the credentials whose text
// has changed since the last load that found no problems. A Loader is not safe for concurrent use.
type Loader struct {
	path   string
	known  map[digest]*credentialItem // the items of the last load without problems, by the SHA-256 of their text
	parsed int                        // how many items of the list `credentials` all loads have parsed
}

type digest [sha256.Size]byte

// NewLoader returns a Loader of the file at path.
func NewLoader(path string) *Loader { return &Loader{path: path} }

// placedItem is an item and its position in the file. The field `shift` is added to the line
// numbers of all places in the item.
type placedItem struct {
	*credentialItem
	shift  int
	digest digest // the SHA-256 of the item's text; zero if unknown
}

func (i placedItem) at(place yamlfile.Place) yamlfile.Place {
	return yamlfile.Place{Line: place.Line + i.shift, Column: place.Column}
}

// read parses each credential separately if possible.
func (l *Loader) read(data []byte) (*yamlfile.Document, []placedItem) {
	if document, items, ok := l.readSplit(data); ok {
		return document, items
	}
	return l.readWhole(data)
}

func (l *Loader) readWhole(data []byte) (*yamlfile.Document, []placedItem) {
	document := yamlfile.Parse(l.path, data)
	var items []placedItem
	for _, item := range document.Root().Get("credentials").List(0, maxCredentials) {
		items = append(items, placedItem{credentialItem: readItem(item)})
	}
	l.parsed += len(items)
	return document, items
}

// readSplit parses the list of credentials separately from the rest of the file. readSplit returns
// false if the file cannot be split reliably, or if the list or the syntax has a problem.
func (l *Loader) readSplit(data []byte) (*yamlfile.Document, []placedItem, bool) {
	rest, key, texts := split(data)
	if len(texts) == 0 || len(texts) > maxCredentials {
		return nil, nil, false
	}
	document := yamlfile.Parse(l.path, rest)
	list := document.Root().Get("credentials")
	if document.Err() != nil || !list.Empty() || list.Key().Place().Line != key {
		return nil, nil, false
	}
	items, ok := l.readPieces(data, texts)
	return document, items, ok
}

// itemText is the part data[begin:end] of a file that has one item of the list `credentials`.
type itemText struct{ begin, end, line int }

// split finds the items of the list `credentials` if the list is a block at the top level. An item
// extends to the next item or key. In the result, `key` is the line of the key `credentials`, and
// `rest` is the file with the lines of the items left empty.
func split(data []byte) (rest []byte, key int, items []itemText) {
	const before, within, after = 0, 1, 2 // possible positions of a line: before, within and after the list
	state, indent, offset, number := before, -1, 0, 0
	for line := range bytes.Lines(data) {
		number++
		content := bytes.TrimLeft(line, " ")
		depth := len(line) - len(content)
		text := bytes.TrimSpace(content)
		isComment := len(text) == 0 || text[0] == '#'
		isItem := len(text) > 0 && text[0] == '-' && (len(text) == 1 || text[1] == ' ' || text[1] == '\t')
		switch {
		case state == before && depth == 0 && string(text) == "credentials:":
			state, key = within, number
		case state != within || isComment && items == nil:
		case isItem && (items == nil || depth == indent):
			items, indent = append(items, itemText{begin: offset, line: number}), depth
		case !isComment && depth <= indent || items == nil:
			state = after
		}
		offset += len(line)
		if state != within || items == nil {
			rest = append(rest, line...)
			continue
		}
		items[len(items)-1].end = offset
		rest = append(rest, '\n')
	}
	return rest, key, items
}

const maxPiece = 500

// readPieces reuses the items that are known from the last load. readPieces splits the other items
// into pieces of up to maxPiece items, and parses the pieces concurrently. readPieces returns false
// if a piece has a problem or an unexpected number of items.
func (l *Loader) readPieces(data []byte, texts []itemText) ([]placedItem, bool) {
	items := make([]placedItem, len(texts))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	first := 0 // index of the first item in the current run of unknown items
	for i, text := range texts {
		items[i].digest = sha256.Sum256(data[text.begin:text.end])
		if known := l.known[items[i].digest]; known != nil {
			items[i].credentialItem, items[i].shift = known, text.line-known.line
		}
		if next := i + 1; next == len(texts) || items[i].credentialItem != nil || next-first == maxPiece {
			begin, end := first, next
			if items[i].credentialItem != nil {
				end = i
			}
			if first = next; begin < end {
				group.Go(func() error { return readPiece(data, texts[begin:end], items[begin:end]) })
				l.parsed += end - begin
			}
		}
	}
	return items, group.Wait() == nil
}

// readPiece parses several texts together, as the items of one list.
func readPiece(data []byte, texts []itemText, items []placedItem) error {
	document := yamlfile.Parse("", data[texts[0].begin:texts[len(texts)-1].end])
	for i, value := range document.Root().List(len(texts), len(texts)) {
		if i == len(items) {
			break
		}
		items[i].credentialItem = readItem(value)
		items[i].line = texts[i].line - texts[0].line + 1
		items[i].shift = texts[0].line - 1
	}
	return document.Err()
}

func (l *Loader) remember(items []placedItem) {
	l.known = make(map[digest]*credentialItem, len(items))
	for _, item := range items {
		if item.line > 0 {
			l.known[item.digest] = item.credentialItem
		}
	}
}
