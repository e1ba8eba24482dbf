package strictyaml

// shape is what a node is.
type shape int

const (
	absent shape = iota
	null
	boolean
	number
	text
	sequence
	mapping
)

// String says what a node of that shape is.
func (s shape) String() string {
	return [...]string{"empty", "empty", "a boolean", "a number", "a string", "a list", "a mapping"}[s]
}

// node is one node of a document. A refused one has had its problem.
type node struct {
	place
	shape   shape
	refused bool
	scalar  any // string, bool, int64 or float64; nil for what is none of them
	items   []Value
	entries []Entry
	index   map[string]int // where in entries each name is; nil while they are few
}

// few is how many entries are searched without an index.
const few = 8

func (n *node) find(name string) (Entry, bool) {
	if n.index != nil {
		i, ok := n.index[name]
		if !ok {
			return Entry{}, false
		}
		return n.entries[i], true
	}
	for _, entry := range n.entries {
		if entry.Name == name {
			return entry, true
		}
	}
	return Entry{}, false
}

func (n *node) add(entry Entry) {
	n.entries = append(n.entries, entry)
	switch {
	case n.index != nil:
		n.index[entry.Name] = len(n.entries) - 1
	case len(n.entries) > few:
		n.index = make(map[string]int)
		for i, entry := range n.entries {
			n.index[entry.Name] = i
		}
	}
}

// plain returns the node as the schema's checker takes it.
func (n *node) plain() any {
	switch n.shape {
	case sequence:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.node.plain()
		}
		return list
	case mapping:
		object := make(map[string]any, len(n.entries))
		for _, entry := range n.entries {
			object[entry.Name] = entry.Value.node.plain()
		}
		return object
	default:
		return n.scalar
	}
}
