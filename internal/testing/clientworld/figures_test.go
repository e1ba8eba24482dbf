package clientworld

import (
	"testing"
	"time"
)

func TestTokensOfTheLoad(t *testing.T) {
	at := func(seconds ...float64) (times []time.Time) {
		for _, s := range seconds {
			times = append(times, time.Unix(0, 0).Add(time.Duration(s*float64(time.Second))))
		}
		return times
	}
	for _, test := range []struct {
		issued, revoked           []time.Time
		renewals, early, problems int
	}{
		{at(0, 15, 30), nil, 2, 0, 0},
		{at(0, 3, 18), at(2), 1, 1, 0},
		{at(0, 3, 4), at(2), 0, 1, 1},
		{at(0, 3, 4), at(2, 3.5), 0, 2, 0},
		{at(0, 5), nil, 0, 0, 1},
		{nil, nil, 0, 0, 0},
	} {
		renewals, early, problems := judgeTokens(test.issued, test.revoked)
		if renewals != test.renewals || early != test.early || len(problems) != test.problems {
			t.Errorf("token requests at %v, revocations at %v: %d renewals, %d after revocations, and problems %q; want %d, %d, %d",
				test.issued, test.revoked, renewals, early, problems, test.renewals, test.early, test.problems)
		}
	}
}
