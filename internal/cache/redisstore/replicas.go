package redisstore

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
)

// These constants determine the list of the replicas in Redis.
const (
	// announcementLife is how long an announcement counts. A replica that announces itself every
	// AnnouncementInterval stays in the list when one announcement fails.
	announcementLife = 3 * AnnouncementInterval
	// maxAnnouncements is the maximum number of announcements in Redis: several of each replica.
	maxAnnouncements = 1_000
	// maxAnnouncement is the size limit of an encrypted announcement, in bytes. A reply with
	// maxAnnouncements of this size is smaller than maxReply.
	maxAnnouncement = 1 << 10
	maxReplicaText  = 100 // bytes
)

// AnnouncementInterval is how often a replica has to call Announce.
const AnnouncementInterval = 5 * time.Second

// Replica is what a replica announces about itself to the other replicas. It contains no secrets.
type Replica struct {
	// Name belongs to this replica alone. Name and Version have 1 to 100 printable bytes of UTF-8.
	Name              string    `json:"name"`
	Version           string    `json:"version"`
	StartTime         time.Time `json:"start_time"`
	ConfigurationTime time.Time `json:"configuration_time"`
	Problems          int       `json:"problems,omitempty"` // number of problems of the configuration file
	StoreConfigured   bool      `json:"store_configured,omitempty"`
	StoreAvailable    bool      `json:"store_available,omitempty"`
}

// storedReplica is the JSON form of an announcement.
type storedReplica struct {
	Replica

	Stopped bool `json:"stopped,omitempty"`
}

// isValid reports whether a broker can have written the announcement.
func (r *storedReplica) isValid() bool {
	if r.Stopped {
		return isReplicaText(r.Name)
	}
	isTime := func(t time.Time) bool { return t.Year() > 1 && t.Year() < 9999 }
	return isReplicaText(r.Name) && isReplicaText(r.Version) &&
		isTime(r.StartTime) && isTime(r.ConfigurationTime) && r.Problems >= 0 && r.Problems <= math.MaxInt32
}

func isReplicaText(text string) bool {
	return text != "" && len(text) <= maxReplicaText && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Announce makes Replicas return this replica, for 15 seconds.
func (s *Store) Announce(ctx context.Context, replica Replica) error {
	return s.announce(ctx, storedReplica{Replica: replica})
}

// Withdraw ends the effect of Announce for the replica with the given name.
func (s *Store) Withdraw(ctx context.Context, name string) error {
	return s.announce(ctx, storedReplica{Replica: Replica{Name: name}, Stopped: true})
}

// announce adds an announcement to the list of the first fleet key. For each replica, only the
// newest announcement counts.
func (s *Store) announce(ctx context.Context, stored storedReplica) error {
	key := s.announcementKeys()[0]
	_, err := s.run(ctx, "announce", announceScript, []string{key},
		s.seal(key, stored), announcementLife.Milliseconds(), maxAnnouncements)
	return err
}

// Replicas returns the replicas that have announced themselves in the last 15 seconds, and have not
// withdrawn since, in no particular order. There are at most 1,000 for each fleet key.
func (s *Store) Replicas(ctx context.Context) ([]Replica, error) {
	newest := map[string]storedReplica{}
	for _, key := range s.announcementKeys() {
		reply, err := s.run(ctx, "replicas", announcedScript, []string{key},
			announcementLife.Milliseconds(), maxAnnouncements, maxAnnouncement)
		if err != nil {
			return nil, err
		}
		answer, err := reply.Slice()
		if err != nil || len(answer)%2 != 0 || len(answer) > 2*maxAnnouncements {
			return nil, errReply
		}
		for pair := range slices.Chunk(answer, 2) {
			s.readAnnouncement(key, pair[0], pair[1], newest)
		}
	}
	var all []Replica
	for _, stored := range newest {
		if !stored.Stopped {
			all = append(all, stored.Replica)
		}
	}
	return all, nil
}

// readAnnouncement adds an announcement to the map, unless it cannot be read, or the map has a newer
// one of the same replica.
func (s *Store) readAnnouncement(key string, entry, left any, newest map[string]storedReplica) {
	var stored storedReplica
	_, life, err := s.open(key, entry, left, &stored)
	switch {
	case err != nil:
	case life > announcementLife:
		err = errNoEnd
	case !stored.isValid():
		err = errDamaged
	}
	if err != nil {
		s.observeUnreadable(err)
		return
	}
	if _, known := newest[stored.Name]; !known {
		newest[stored.Name] = stored
	}
}

// announcementKeys returns the Redis keys of the lists of announcements, one for each fleet key.
func (s *Store) announcementKeys() []string {
	keys := s.keys.Names("replicas")
	for i, name := range keys {
		keys[i] = prefix + "{" + name + "}:replicas"
	}
	return keys
}
