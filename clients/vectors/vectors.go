// Package vectors contains the test vectors of clients.
package vectors

import (
	"embed"
	"strings"
)

//go:embed *.json
var files embed.FS

// Files returns the JSON of each vector by the vector's name.
func Files() (map[string][]byte, error) {
	all := map[string][]byte{}
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		text, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, err
		}
		all[strings.TrimSuffix(entry.Name(), ".json")] = text
	}
	return all, nil
}
