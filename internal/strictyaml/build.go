package strictyaml

import (
	"math"

	"go.yaml.in/yaml/v4"
)

// build makes a node of what the parser read, and reports what it refuses. The depth
// is that of a collection here.
func (d *Document) build(from *yaml.Node, depth int) *node {
	n := &node{place: place{from.Line, from.Column}}
	if from.Anchor != "" {
		d.report(n.place, anchorRefused)
	}
	switch from.Kind {
	case yaml.ScalarNode:
		d.buildScalar(n, from)
	case yaml.SequenceNode, yaml.MappingNode:
		d.buildCollection(n, from, depth)
	case yaml.AliasNode:
		d.refuse(n, anchorRefused)
	default:
		d.refuse(n, notYAML)
	}
	if tag := explicitTag(from); tag != "" && !n.refused {
		d.checkTag(n, tag)
	}
	return n
}

func (d *Document) buildScalar(n *node, from *yaml.Node) {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	tag := explicitTag(from)
	if tag == stringTag || tag == "" && from.Style&quoted != 0 {
		n.shape, n.scalar = text, from.Value
		return
	}
	n.shape, n.scalar = resolve(from.Value)
	if float, ok := n.scalar.(float64); ok && (math.IsInf(float, 0) || math.IsNaN(float)) {
		n.scalar = nil
		d.refuse(n, "is no number that can be used: put a text in quotes")
	}
}

func (d *Document) buildCollection(n *node, from *yaml.Node, depth int) {
	if depth > maxDepth {
		d.refuse(n, tooDeep)
		return
	}
	if from.Kind == yaml.MappingNode {
		d.buildMapping(n, from.Content, depth)
		return
	}
	n.shape = sequence
	for _, item := range from.Content {
		n.items = append(n.items, Value{d, d.build(item, depth+1)})
	}
}

// buildMapping makes a mapping of keys and values in turn. One that holds a key of
// which the name is unknown is refused: nobody can say what it lacks.
func (d *Document) buildMapping(n *node, content []*yaml.Node, depth int) {
	n.shape = mapping
	for ; len(content) >= 2; content = content[2:] {
		if isMerge(content[0]) {
			d.report(place{content[0].Line, content[0].Column}, mergeRefused)
			n.refused = true
			continue
		}
		key := d.build(content[0], depth+1)
		value := d.build(content[1], depth+1)
		name, isText := key.scalar.(string)
		first, repeated := n.find(name)
		switch {
		case key.refused:
			n.refused = true
		case !isText:
			d.report(key.place, keySentence(key))
		case repeated:
			d.reportf(key.place, "this key stands twice: first in line %d", first.Key.node.line)
		default:
			n.add(Entry{Name: name, Key: Value{d, key}, Value: Value{d, value}})
		}
	}
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Style == 0 && key.Value == "<<"
}

// isEmpty reports whether a document holds nothing. The parser makes an empty scalar of
// that.
func isEmpty(content *yaml.Node) bool {
	return content == nil ||
		content.Kind == yaml.ScalarNode && content.Style == 0 && content.Anchor == "" && content.Value == ""
}
