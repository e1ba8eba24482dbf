package strictyaml

// Steps is how many characters were looked at to find places.
func (d *Document) Steps() int { return d.steps }
