package strategies

import (
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
)

// static places field values. Its material is computed once.
type static struct {
	material Material
}

func newStatic(credential *credentials.Credential) (*static, error) {
	material, err := place(credential, secret.Text{})
	if err != nil {
		return nil, err
	}
	return &static{material: material}, nil
}

// Material returns the material; there is no token in it.
func (s *static) Material(secret.Text) (Material, error) { return s.material, nil }
