package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a consumer group: `member BOOTSTRAP TOPIC GROUP ASSIGNOR SESSION_MS [INSTANCE]`. Commits what it has read after each poll, and
// leaves on SIGTERM. Prints, each on a line of its own:
//
//   - 0,2       partitions it was given
//   - 0,2       partitions that were taken from it
//     r 2 17      a record it has read: partition and offset
func member(words []string) error {
	bootstrap, topic, group, assignor := words[0], words[1], words[2], words[3]
	session, err := strconv.Atoi(words[4])
	if err != nil {
		return err
	}
	say := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			var partitions []string
			for _, partition := range topics[topic] {
				partitions = append(partitions, fmt.Sprint(partition))
			}
			fmt.Println(what, strings.Join(partitions, ","))
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(time.Duration(session) * time.Millisecond), kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond), kgo.MetadataMaxAge(2 * time.Second), kgo.Balancers(balancer(assignor)),
		kgo.OnPartitionsAssigned(say("+")), kgo.OnPartitionsRevoked(say("-")), kgo.OnPartitionsLost(say("-")),
	}
	if len(words) > 5 {
		options = append(options, kgo.InstanceID(words[5]))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, context.Canceled) {
				return failed.Err
			}
		}
		fetches.EachRecord(func(record *kgo.Record) { fmt.Println("r", record.Partition, record.Offset) })
		if !fetches.Empty() {
			// A group that moved on says so; what was not committed is read again by whoever has it then.
			_ = client.CommitUncommittedOffsets(context.Background())
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	return nil
}

func balancer(name string) kgo.GroupBalancer {
	switch name {
	case "cooperative-sticky":
		return kgo.CooperativeStickyBalancer()
	case "roundrobin":
		return kgo.RoundRobinBalancer()
	default:
		return kgo.RangeBalancer()
	}
}
