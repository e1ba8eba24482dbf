package redisstore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// describe returns one word for the result of an operation. The text of an error is not used,
// because it can quote the data that was sent.
func describe(err error) string {
	var answered redis.Error
	var network net.Error
	switch {
	case !isFailure(err):
		return "ok"
	case errors.Is(err, errGaveUp):
		return "gave_up"
	case errors.Is(err, errStarved):
		return "starved"
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return "not_tried"
	case errors.Is(err, errOverload):
		return "overload"
	case errors.Is(err, errReplyLimit):
		return "reply"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &answered):
		return cmp.Or(strings.ToLower(answerCode(err)), "error")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return "connection"
	default:
		return "error"
	}
}

// isFailure reports whether the error means that Redis cannot be used.
func isFailure(err error) bool { return err != nil && !isWrongType(err) }

// isWrongType reports whether the error means that the value of a Redis key has a type that the
// broker does not write.
func isWrongType(err error) bool { return answerCode(err) == "WRONGTYPE" }

// ofScript matches the text that Redis versions before 7 put before the error of a command that
// failed in a script.
var ofScript = regexp.MustCompile(`^ERR Error running script .*?(?:@user_script: ?\d+: -?)+`)

// answerCode returns the code of an error that Redis sent, or "" for any other error.
func answerCode(err error) string {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return ""
	}
	for _, text := range []string{ofScript.ReplaceAllString(answered.Error(), ""), answered.Error()} {
		if word, _, _ := strings.Cut(text, " "); slices.Contains(codes, word) {
			return word
		}
	}
	return ""
}

// codes contains the first words of Redis' own errors. Other words are not reported, so that a
// server cannot create an unlimited number of metric labels.
var codes = []string{
	"ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "ERR", "EXECABORT", "IOERR", "LOADING", "MASTERDOWN", "MISCONF", "MOVED",
	"NOAUTH", "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "UNKILLABLE", "WRONGPASS", "WRONGTYPE",
}
