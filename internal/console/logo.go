package console

import (
	"hash/fnv"
	"strconv"
	"unicode"
)

// logos is the number of colours of logos.
const logos = 8

// logo has the letters and the colour by which people recognise a provider.
type logo struct{ Letters, Class string }

// logoOf returns the logo of a provider. Its letters are the first two capital letters of the name, or
// else its first two letters. Its colour depends on the ID only.
func logoOf(id, name string) logo {
	var capitals, letters []rune
	for _, c := range name {
		switch {
		case unicode.IsUpper(c):
			capitals = append(capitals, c)
			letters = append(letters, c)
		case unicode.IsLetter(c) || unicode.IsDigit(c):
			letters = append(letters, c)
		}
	}
	if len(capitals) >= 2 {
		letters = capitals
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(id)) // never fails
	return logo{string(letters[:min(len(letters), 2)]), "hue" + strconv.Itoa(int(sum.Sum32()%logos))}
}
