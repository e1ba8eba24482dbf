package clientworld

import "strings"

// expand replaces the placeholders {NAME}, {NAME.ip} and {NAME.port} of the providers.
func (w *world) expand(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	for name, p := range w.providers {
		host := "127.0.0.1:" + p.port
		if isSecure(name) {
			host = "localhost:" + p.port
		}
		text = strings.NewReplacer(
			"{"+name+"}", host,
			"{"+name+".ip}", "127.0.0.1:"+p.port,
			"{"+name+".localhost}", "localhost:"+p.port,
			"{"+name+".port}", p.port,
		).Replace(text)
	}
	return text
}

func isSecure(name string) bool { return strings.HasPrefix(name, "secure") }
