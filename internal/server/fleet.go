package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"regexp"
	"strings"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/management"
)

const maxHostName = 63 // bytes

var notInHostNames = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// newReplicaName returns the name of the host with a random suffix, because several brokers can run
// on one host.
func newReplicaName() string {
	host, _ := os.Hostname()
	host = cmp.Or(notInHostNames.ReplaceAllString(host, ""), "broker")
	return host[:min(len(host), maxHostName)] + "-" + strings.ToLower(rand.Text()[:6])
}

// announce reports this replica to the fleet until the server stops.
func (s *Server) announce() {
	ticker := s.clock.NewTicker(redisstore.AnnouncementInterval)
	defer ticker.Stop()
	for s.stopping.Err() == nil {
		_ = s.fleet.Announce(s.stopping, redisstore.Replica(s.management.Member()))
		select {
		case <-ticker.Chan():
		case <-s.stopping.Done():
		}
	}
	_ = s.fleet.Withdraw(context.Background(), s.name)
}

// otherReplicas returns the replicas that have announced themselves, or none while Redis cannot be
// reached.
func (s *Server) otherReplicas(ctx context.Context) []management.Member {
	if s.fleet == nil {
		return nil
	}
	found, _ := s.fleet.Replicas(ctx)
	members := make([]management.Member, len(found))
	for i, replica := range found {
		members[i] = management.Member(replica)
	}
	return members
}
