// Package leaktest finds secrets in what a program lets out, in whatever form they got
// there.
package leaktest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Odd is in every Canary: what JSON, Go, HTML, URLs and shells write in another way. A
// header and an HTTP Basic password can carry it.
const Odd = `+/="\%&<`

// Canary returns a secret of 48 bytes, random but for Odd in its middle.
func Canary() string { return rand.Text()[:20] + Odd + rand.Text()[:20] }

// Finding is one secret in one text. It does not hold the secret.
type Finding struct {
	Where  string // the name of the text
	Secret string // the name of the secret
	Form   string // such as "base64"
	View   string // how the text had to be decoded first, such as "percent-decoded"; or empty
	Offset int    // in the decoded text, in bytes
}

// String says all of it.
func (f Finding) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s holds %s: %s at byte %d, %s", f.Where, f.Secret, f.Form, f.Offset, f.View), ", ")
}

const (
	// pieceSize is the length of the pieces that are searched for, in bytes: a text that
	// holds the first, a middle or the last 24 bytes of a secret holds it.
	pieceSize = 24
	// leastSize is the length of the shortest secret, in bytes. Shorter ones are found by chance.
	leastSize = 12
	// gramSize is by how many bytes needles are looked up.
	gramSize = 10
)

// needle is one form of a piece.
type needle struct{ secret, form, text string }

// Finder searches for secrets. Its zero value knows none. It is not safe for concurrent use.
type Finder struct {
	needles map[string][]needle // by their first bytes, in lower case
	known   map[needle]bool
}

// Add has the finder search for a secret as well. It panics if it has less than 12 bytes.
func (f *Finder) Add(name, secret string) {
	if len(secret) < leastSize {
		panic("leaktest: a secret is too short to be told from other text: " + name)
	}
	for _, piece := range pieces(secret) {
		f.addForms(name, piece)
	}
}

// pieces are what a secret is found by.
func pieces(secret string) []string {
	size := min(len(secret), pieceSize)
	middle := (len(secret) - size) / 2
	return []string{secret[:size], secret[middle : middle+size], secret[len(secret)-size:]}
}

func (f *Finder) addForms(name, piece string) {
	f.add(name, "raw", piece)
	f.add(name, "hexadecimal", hex.EncodeToString([]byte(piece)))
	f.add(name, "bytes as numbers", numbers(piece, " ")) // as Go prints them
	f.add(name, "bytes as numbers", numbers(piece, ",")) // as JSON has them
	// What base64 makes of a piece depends on how many bytes are before it. The characters
	// that also hold bits of its neighbours are left out.
	for before := range 3 {
		shifted := append(make([]byte, before), piece...)
		first, last := (before*8+5)/6, len(shifted)*8/6
		f.add(name, "base64", base64.RawStdEncoding.EncodeToString(shifted)[first:last])
		f.add(name, "base64url", base64.RawURLEncoding.EncodeToString(shifted)[first:last])
	}
}

func numbers(text, separator string) string {
	var all []string
	for _, one := range []byte(text) {
		all = append(all, strconv.Itoa(int(one)))
	}
	return strings.Join(all, separator)
}

func (f *Finder) add(name, form, text string) {
	n := needle{name, form, strings.ToLower(text)}
	if f.known[n] {
		return
	}
	if f.known == nil {
		f.known, f.needles = map[needle]bool{}, map[string][]needle{}
	}
	f.known[n] = true
	f.needles[n.text[:gramSize]] = append(f.needles[n.text[:gramSize]], n)
}

// Search returns which secrets a text holds, each form of each once. It ignores case.
func (f *Finder) Search(where string, text []byte) []Finding {
	var all []Finding
	seen := map[Finding]bool{}
	for _, v := range views(text) {
		folded := bytes.ToLower(v.text)
		for at := 0; at+gramSize <= len(folded); at++ {
			for _, n := range f.needles[string(folded[at:at+gramSize])] {
				one := Finding{Where: where, Secret: n.secret, Form: n.form}
				if !seen[one] && bytes.HasPrefix(folded[at:], []byte(n.text)) {
					seen[one] = true
					one.View, one.Offset = v.name, at
					all = append(all, one)
				}
			}
		}
	}
	return all
}
