package redisstore

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
)

type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

func TestDescribe(t *testing.T) {
	const inScript = "ERR Error running script (call to f_80d15f6c748349e0ed5484b470364f85ca8e2b37): "
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "ok"},
		{answer("WRONGTYPE Operation against a key holding the wrong kind of value"), "ok"},
		{answer(inScript + "@user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value"), "ok"},
		{answer("READONLY You can't write against a read only replica. script: a7f3, on @user_script:1."), "readonly"},
		{answer(inScript + "@user_script:15: @user_script: 15: -READONLY You can't write against a read only replica."), "readonly"},
		{answer(inScript + "@user_script:15: @user_script: 15: -OOM command not allowed when used memory > 'maxmemory'."), "oom"},
		{answer(inScript + "@user_script:1: user_script:1: attempt to perform arithmetic on a nil value"), "err"},
		{answer("ERR unknown command 'swordfish', with args beginning with: 'SECRET '"), "err"},
		{answer("SWORDFISH is no code"), "error"},
		{answer("swordfish"), "error"},
		{answer(""), "error"},
		{fmt.Errorf("dial: %w", answer("LOADING Redis is loading the dataset in memory")), "loading"},
		{redis.Nil, "error"}, // the reply of Sentinels that do not know the master
		{redis.ErrPoolTimeout, "error"},
		{fmt.Errorf("read: %w", io.EOF), "connection"},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "connection"},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, "connection"},
	} {
		if got := describe(test.err); got != test.want {
			t.Errorf("the word for error %v is %q, want %q", test.err, got, test.want)
		}
	}
}
