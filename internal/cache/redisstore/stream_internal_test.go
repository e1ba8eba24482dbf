package redisstore

import "testing"

func TestIDsOfTheStreamHaveAnOrder(t *testing.T) {
	ordered := []string{"0-0", "0-1", "0-10", "9-2", "10-0", "1764400000000-0", "1764400000000-2", "1764400000000-10"}
	for i, one := range ordered {
		for j, other := range ordered {
			if got := isBefore(one, other); got != (i < j) {
				t.Errorf("%s before %s: %v", one, other, got)
			}
		}
	}
}
