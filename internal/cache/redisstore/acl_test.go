package redisstore_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const (
	aclUser     = "authmaterial"
	aclPassword = "swordfish"
)

// documentedRules returns the ACL rules in docs/operations.md: the rules of the Redis user, the
// additional rules for another database and for a Cluster, and the rules of the Sentinel user.
func documentedRules(t *testing.T) (rules, database, cluster, sentinel string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string, n int) []string {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1)
		if len(found) != n {
			t.Fatalf("docs/operations.md has %d matches of %s, want %d", len(found), pattern, n)
		}
		var all []string
		for _, one := range found {
			all = append(all, strings.ReplaceAll(one[1], ">PASSWORD", ">"+aclPassword))
		}
		return all
	}
	lines := find(`(?m)^ACL SETUSER `+aclUser+` (.*)$`, 2)
	return lines[0], find(`another database than 0 add\s`+"`([^`]*)`", 1)[0], find(`For a Cluster add\s`+"`([^`]*)`", 1)[0], lines[1]
}

// guarded describes servers at which the broker's user has few permissions.
type guarded struct {
	admins []*redis.Client
	rules  string
	use    func(*testing.T) error // calls every operation of a Store
}

// allow sets the permissions of the broker's user to exactly the given rules, and empties the log
// of denied commands.
func (g guarded) allow(t *testing.T, rules string) {
	t.Helper()
	arguments := []any{"ACL", "SETUSER", aclUser}
	for _, rule := range strings.Fields(rules) {
		arguments = append(arguments, rule)
	}
	for _, admin := range g.admins {
		for _, command := range [][]any{arguments, {"ACL", "LOG", "RESET"}} {
			if err := admin.Do(t.Context(), command...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		_ = admin.ScriptFlush(t.Context()) // Sentinels have no scripts
	}
}

func (g guarded) denied(t *testing.T) (commands []string) {
	t.Helper()
	for _, admin := range g.admins {
		entries, err := admin.ACLLog(t.Context(), 100).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			commands = append(commands, entry.Object)
		}
	}
	return commands
}

// try calls every operation of a Store, and returns the commands that the servers denied. If an
// operation timed out because the machine is busy, try repeats all operations.
func (g guarded) try(t *testing.T) (denied []string, err error) {
	t.Helper()
	for range 10 {
		err = g.use(t)
		denied = g.denied(t)
		if denied != nil || err == nil || !strings.HasSuffix(err.Error(), "timeout") {
			break
		}
	}
	return denied, err
}

// check verifies that the servers deny no command with the rules g.rules, and deny one if any of
// the given grants is missing.
func (g guarded) check(t *testing.T, grants string) {
	t.Helper()
	g.allow(t, g.rules)
	if denied, err := g.try(t); err != nil || denied != nil {
		t.Errorf("the user from docs/operations.md is denied the commands %q: %v", denied, err)
	}
	for _, grant := range strings.Fields(grants) {
		if !strings.HasPrefix(grant, "+") && !strings.HasPrefix(grant, "&") {
			continue
		}
		g.allow(t, strings.Replace(g.rules+" ", " "+grant+" ", " ", 1))
		if denied, _ := g.try(t); len(denied) == 0 || grant[1:] != denied[0] {
			t.Errorf("without the rule %s the user is denied the commands %q", grant, denied)
		}
	}
}

func guardedServer(addresses ...string) redisstore.Server {
	return redisstore.Server{Addresses: addresses, Username: secret.New(aclUser), Password: secret.New(aclPassword)}
}

func TestACL(t *testing.T) {
	t.Parallel()
	rules, database, _, _ := documentedRules(t)
	server := redistest.Start(t)
	place := guardedServer(server.Addr())
	one := guarded{[]*redis.Client{server.Client()}, rules, func(t *testing.T) error { return useEverything(t, place, server.Client()) }}
	one.check(t, rules)

	place.Database = 1
	one.rules += " " + database
	one.use = func(t *testing.T) error { return useEverything(t, place, nil) }
	one.check(t, database)
}

func TestACLOfACluster(t *testing.T) {
	t.Parallel()
	rules, _, extra, _ := documentedRules(t)
	cluster := redistest.StartCluster(t)
	masters := cluster.AwaitMasters()
	moveSlot(t, masters, cluster.MasterOf("authmaterial:1:probe"), "authmaterial:1:probe")
	place := guardedServer(cluster.Addrs()...)
	place.Cluster = true
	all := guarded{nil, rules + " " + extra, func(t *testing.T) error { return useEverything(t, place, nil) }}
	for _, address := range cluster.Addrs() {
		all.admins = append(all.admins, adminAt(t, address, masters[0]))
	}
	all.check(t, extra)
}

// moveSlot begins to move the slot of a key to another master, and does not finish. In this state,
// the old master redirects clients to the other master for keys that do not exist yet.
func moveSlot(t *testing.T, masters []*redistest.Server, from *redistest.Server, key string) {
	t.Helper()
	to := masters[0]
	if to == from {
		to = masters[1]
	}
	ctx := context.Background()
	slot := from.Client().ClusterKeySlot(ctx, key).Val()
	for _, command := range []*redis.Cmd{
		to.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Client().ClusterMyID(ctx).Val()),
		from.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Client().ClusterMyID(ctx).Val()),
	} {
		if err := command.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func adminAt(t *testing.T, address string, as *redistest.Server) *redis.Client {
	t.Helper()
	options := *as.Client().Options()
	options.Addr = address
	client := redis.NewClient(&options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestACLOfSentinels(t *testing.T) {
	t.Parallel()
	rules, _, _, sentinelRules := documentedRules(t)
	sentinels := redistest.StartSentinel(t)
	master := sentinels.AwaitMaster()
	guarded{admins: []*redis.Client{master.Client()}}.allow(t, rules)
	place := guardedServer(sentinels.Addrs()...)
	place.SentinelMaster = redistest.MasterName
	place.SentinelUsername, place.SentinelPassword = place.Username, place.Password
	all := guarded{rules: sentinelRules}
	for _, address := range sentinels.Addrs() {
		all.admins = append(all.admins, adminAt(t, address, master))
	}
	all.use = func(t *testing.T) error { return useSentinels(t, place, all) }
	all.check(t, sentinelRules)
}
