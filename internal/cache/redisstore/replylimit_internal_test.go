package redisstore

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestReplyLimit(t *testing.T) {
	bulk := func(n int) string { return "$" + strconv.Itoa(n) + "\r\n" + strings.Repeat("x", n) + "\r\n" }
	for name, test := range map[string]struct {
		stream string
		broken bool
	}{
		"simple replies":             {"+OK\r\n-ERR no\r\n:17\r\n", false},
		"a bulk string":              {bulk(300), false},
		"a line end in a string":     {"$4\r\n\r\n*9\r\n+OK\r\n", false},
		"nil and empty":              {"$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n", false},
		"an array of arrays":         {"*2\r\n*2\r\n+a\r\n:1\r\n*1\r\n" + bulk(3) + "+OK\r\n", false},
		"many replies":               {strings.Repeat(bulk(maxEntry), 5), false},
		"the largest entries":        {"*2\r\n" + bulk(maxEntry) + bulk(maxEntry), false},
		"128 GiB announced":          {"$137438953472\r\n", true},
		"more digits than a number":  {"$" + strings.Repeat("9", 30) + "\r\n", true},
		"a billion elements":         {"*1000000000\r\n", true},
		"many large arrays":          {"*3\r\n" + strings.Repeat("*50000\r\n", 3), true},
		"arrays in arrays":           {strings.Repeat("*1\r\n", 100_000), true},
		"strings that add up":        {"*5\r\n" + strings.Repeat(bulk(maxEntry), 5), true},
		"an error without end":       {"-" + strings.Repeat("x", maxLine), true},
		"a negative length":          {"$-2\r\n", true},
		"no length":                  {"*\r\n", true},
		"a line end that is cut off": {"+OK\n", true},
		"a map, a set, pushed data":  {"%1\r\n+a\r\n:1\r\n~1\r\n_\r\n>2\r\n+a\r\n#t\r\n", false},
		"other values":               {",1.5\r\n(12345678901234567890\r\n!3\r\nERR\r\n=7\r\ntxt:abc\r\n%0\r\n", false},
		"attributes before a value":  {"|1\r\n+a\r\n:1\r\n$1\r\nx\r\n*1\r\n|0\r\n+OK\r\n", false},
		"a map of a million":         {"%1000000\r\n", true},
		"streamed data":              {"$?\r\n", true},
		"garbage":                    {"HTTP/1.1 400 Bad Request\r\n", true},
	} {
		for _, size := range []int{1, 7, len(test.stream)} {
			var limit replyLimit
			var err error
			for rest := test.stream; rest != "" && err == nil; {
				n := min(size, len(rest))
				err = limit.scan([]byte(rest[:n]))
				rest = rest[n:]
			}
			if got := errors.Is(err, errReplyLimit); got != test.broken {
				t.Errorf("whether the reply %s, read %d bytes at a time, exceeds the limit: %v, want %v", name, size, got, test.broken)
			}
			if !test.broken && (limit.pending != 0 || limit.cost != 0 || limit.skip != 0 || len(limit.line) != 0) {
				t.Errorf("after the reply %s, read %d bytes at a time, the stream is not at the start of another reply: %+v", name, size, limit)
			}
		}
	}
}

// FuzzReplyLimit checks that the result does not depend on how a stream of replies is divided into
// reads, and that no accepted reply announces more than the limit.
func FuzzReplyLimit(f *testing.F) {
	for _, stream := range []string{"*2\r\n$3\r\nabc\r\n:1\r\n+OK\r\n", "$137438953472\r\n", "*1\r\n*-1\r\n$-1\r\n", "-ERR\r\n", "%1\r\n"} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var whole, single replyLimit
		wholeErr := whole.scan(stream)
		var singleErr error
		for i := range stream {
			if singleErr = single.scan(stream[i : i+1]); singleErr != nil {
				break
			}
			if single.cost > maxReply || single.skip > maxReply+2 || single.pending*elementCost > maxReply || len(single.line) > maxLine {
				t.Fatalf("an accepted reply exceeds the limit: %+v", single)
			}
		}
		if !errors.Is(wholeErr, singleErr) {
			t.Errorf("the reply read at once ends with the error %v, but read byte by byte with the error %v", wholeErr, singleErr)
		}
	})
}
