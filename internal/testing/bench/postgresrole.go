package main

import (
	"context"
	"fmt"
	"testing" //nolint:depguard // the benchmark is no part of the broker, and postgrestest needs a testing.TB

	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// postgresServer is what servePostgres sends to the parent process.
type postgresServer struct {
	// URLs are the addresses of empty databases, one for each number of stored credentials.
	URLs []string
}

// servePostgres runs a PostgreSQL server. The number of its databases is told.Credentials.
func servePostgres(ctx context.Context, told task, answer func(any) error) (err error) {
	t := &testless{ctx: ctx}
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("run PostgreSQL: %v", failed)
		}
		for len(t.cleanups) > 0 {
			last := t.cleanups[len(t.cleanups)-1]
			t.cleanups = t.cleanups[:len(t.cleanups)-1]
			last()
		}
	}()
	server := postgrestest.Start(t)
	var made postgresServer
	for range told.Credentials {
		made.URLs = append(made.URLs, server.Database(t))
	}
	if err := answer(made); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// testless implements those methods of testing.TB that package postgrestest needs, outside of a test.
type testless struct {
	testing.TB

	ctx      context.Context //nolint:containedctx // the method Context of testing.TB must return a context
	cleanups []func()
}

func (t *testless) Context() context.Context          { return t.ctx }
func (t *testless) Cleanup(clean func())              { t.cleanups = append(t.cleanups, clean) }
func (*testless) Helper()                             {}
func (*testless) Fatal(problem ...any)                { panic(fmt.Sprint(problem...)) }
func (*testless) Fatalf(format string, values ...any) { panic(fmt.Sprintf(format, values...)) }
func (*testless) Errorf(format string, values ...any) { panic(fmt.Sprintf(format, values...)) }
