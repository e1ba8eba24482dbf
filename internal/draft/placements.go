package draft

import (
	"fmt"
	"strings"
)

// secret adds a field for a secret, and returns the variable for its value. If a token is still to be
// placed, the token takes the place of the secret.
func (r *reader) secret(id, value string) (variable string) {
	if r.token {
		r.token = false
		return "token"
	}
	return r.addField(id, value, true)
}

// public adds a field that is not secret.
func (r *reader) public(id, value string) (variable string) { return r.addField(id, value, false) }

// addField adds a required field, and returns its ID, which differs from the IDs of other fields.
func (d *Definition) addField(id, value string, secret bool) string {
	unique := id
	for i := 2; d.hasField(unique); i++ {
		unique = fmt.Sprintf("%s_%d", id, i)
	}
	d.Method.Fields = append(d.Method.Fields, Field{ID: unique, Secret: secret})
	d.values[unique] = value
	return unique
}

func (d *Definition) hasField(id string) bool {
	for _, field := range d.Method.Fields {
		if field.ID == id {
			return true
		}
	}
	return false
}

// placeHeader adds a header, unless the definition already has one with this name.
func (r *reader) placeHeader(name, value string) {
	if !r.places(name) {
		*r.headers = append(*r.headers, Placement{Name: name, Value: value})
	}
}

func (r *reader) placeParam(name, value string) {
	*r.params = append(*r.params, Placement{Name: name, Value: value})
}

func (r *reader) places(header string) bool {
	for _, placed := range *r.headers {
		if strings.EqualFold(placed.Name, header) {
			return true
		}
	}
	return false
}

func (r *reader) placesParam(name string) bool {
	for _, placed := range *r.params {
		if placed.Name == name {
			return true
		}
	}
	return false
}
