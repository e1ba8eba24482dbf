// Package leaktest finds secrets in the output of a program, also if the secrets are encoded.
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

// Odd is a text that is a part of every secret from the function Canary. It consists of
// characters that JSON, Go, HTML, URLs and shells escape. All these characters are allowed in
// HTTP headers and in HTTP Basic passwords.
const Odd = `+/="\%&<`

// Canary returns a secret of 48 bytes. The secret is random, but its middle is the text Odd.
func Canary() string { return rand.Text()[:20] + Odd + rand.Text()[:20] }

// Finding describes a secret that was found in a text. A Finding does not contain the secret
// itself.
type Finding struct {
	Where  string // name of the searched text, such as a file name
	Secret string // name of the secret that was found
	Form   string // encoding in which the secret was found, such as "base64"
	View   string // how the text was decoded before the search, such as "percent-decoded"; empty: it was not decoded
	Offset int    // position of the secret in the decoded text, in bytes
}

// String describes the finding in a sentence.
func (f Finding) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s contains %s: %s at byte %d, %s", f.Where, f.Secret, f.Form, f.Offset, f.View), ", ")
}

const (
	// pieceSize is a length in bytes. The search looks for pieces of a secret that have this
	// length: the first 24 bytes, 24 bytes in the middle, and the last 24 bytes.
	pieceSize = 24
	// leastSize is the minimum length of a secret, in bytes. A shorter secret could appear in
	// other text by chance.
	leastSize = 12
	// gramSize is a number of bytes. The search first compares only this many bytes at the
	// beginning of a needle.
	gramSize = 10
)

// needle is a text that the search looks for: a piece of a secret in one encoding.
type needle struct{ secret, form, text string }

// Finder searches texts for secrets. The zero value searches for no secrets. A Finder is not
// safe for concurrent use.
type Finder struct {
	needles map[string][]needle // needles by their first bytes; these bytes are in lower case
	known   map[needle]bool
}

// Add adds a secret to the secrets that the Finder searches for. It panics if the secret has
// fewer than 12 bytes.
func (f *Finder) Add(name, secret string) {
	if len(secret) < leastSize {
		panic("leaktest: a secret is too short to be distinguished from other text: " + name)
	}
	for _, piece := range pieces(secret) {
		f.addForms(name, piece)
	}
}

// pieces returns the pieces of a secret for which the Finder searches.
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
	// The base64 form of a piece depends on the number of bytes before the piece. A character at
	// either end of the base64 form may also encode bits of neighbouring bytes. Such characters
	// are removed.
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

// Search returns a Finding for each secret and each encoding in which the text contains the
// secret. If a secret appears several times in the same encoding, only the first place is
// returned. The search ignores case.
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
