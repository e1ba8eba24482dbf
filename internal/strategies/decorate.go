package strategies

import "net/http"

// Decorate adds the material to a request, in place of headers and query parameters of the same
// name.
func (m Material) Decorate(request *http.Request) {
	for _, header := range m.Headers {
		request.Header.Set(header.Name, header.Value.Reveal())
	}
	if len(m.QueryParams) == 0 {
		return
	}
	query := request.URL.Query()
	for _, param := range m.QueryParams {
		query.Set(param.Name, param.Value.Reveal())
	}
	request.URL.RawQuery = query.Encode()
}
