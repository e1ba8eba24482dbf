package main

import (
	"context"
	"errors"
	"io"
)

const (
	sideBroker   = iota
	sideDefaults // the do-nothing server with grpc-go's defaults
	sideEqual    // the do-nothing server with the broker's transport options
	sideControl  // another do-nothing server with the defaults
)

func measureSetting(ctx context.Context, s setting, chosen options, out io.Writer) (err error) {
	told := s.task(chosen)
	if s.security == mutualTLS {
		folder, remove, err := writeCertificates(told.Identities)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
		told.Certificates = folder
	}
	return with(ctx, roleBroker, told, func(broker endpoint) error {
		told.Broker = broker
		told.Sides = []side{{Name: "broker", At: broker, Audited: s.audit != ""}}
		return withDoNothing(ctx, &told, []doNothingServer{{"do-nothing", false}, {"equal options", true}, {"control", false}}, func() error {
			return with(ctx, roleLoad, told, func(measured result) error { return printSetting(out, s, measured) })
		})
	})
}

type doNothingServer struct {
	name  string
	equal bool // whether the server uses the broker's transport options
}

// withDoNothing starts do-nothing servers, adds them to the servers that the task compares, and
// calls `use`.
func withDoNothing(ctx context.Context, told *task, servers []doNothingServer, use func() error) error {
	if len(servers) == 0 {
		return use()
	}
	told.Equal = servers[0].equal
	return with(ctx, roleDoNothing, *told, func(at endpoint) error {
		told.Sides = append(told.Sides, side{Name: servers[0].name, At: at})
		return withDoNothing(ctx, told, servers[1:], use)
	})
}
