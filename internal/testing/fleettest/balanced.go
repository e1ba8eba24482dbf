package fleettest

import (
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

const balancedConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 5, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}}]
}`

// Balanced returns a Broker that stands for all brokers of the fleet. The gRPC clients of this
// Broker know the addresses of all brokers that exist now, and retry at another broker if one does
// not answer.
func (f *Fleet) Balanced() *Broker {
	f.t.Helper()
	addresses := manual.NewBuilderWithScheme("fleet")
	var all []resolver.Address
	for _, b := range f.Brokers {
		all = append(all, resolver.Address{Addr: "unix://" + filepath.Join(b.folder, grpcSocket), ServerName: "broker.test"})
	}
	addresses.InitialState(resolver.State{Addresses: all})
	balanced := &Broker{Name: "any broker", t: f.t, fleet: f}
	for range connections {
		connection, err := grpc.NewClient("fleet:///", grpc.WithResolvers(addresses),
			grpc.WithTransportCredentials(insecure.NewCredentials()), soonAgain(), grpc.WithDefaultServiceConfig(balancedConfig))
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { _ = connection.Close() })
		balanced.connections = append(balanced.connections, connection)
	}
	return balanced
}
