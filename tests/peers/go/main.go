// franz-go, in two ways. `member ...` is a member of a consumer group (see member.go). `BOOTSTRAP TOPIC CODEC` is a round trip: it writes
// 400 records to both partitions of an existing topic, numbered as this client does by itself (idempotent), and reads them back by
// assignment. Prints "read 400", or says on stderr what was not as sent.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const records = 400

func main() {
	if os.Args[1] == "member" {
		if err := member(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("read", records)
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	default:
		return kgo.NoCompression()
	}
}

func value(n int) string {
	return fmt.Sprintf("value %d %s", n, strings.Repeat("the quick brown fox ", 10))
}

func run(bootstrap, topic, compression string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec(compression)), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer producer.Close()
	sent := make([]*kgo.Record, records)
	for n := range sent {
		sent[n] = &kgo.Record{
			Topic: topic, Partition: int32(n % 2), Key: []byte(fmt.Sprint(n)), Value: []byte(value(n)),
			Headers: []kgo.RecordHeader{{Key: "n", Value: []byte{byte(n)}}},
		}
	}
	if err := producer.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	ends, err := kadm.NewClient(producer).ListEndOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("end offsets: %w", err)
	}
	for partition := int32(0); partition < 2; partition++ {
		if end, _ := ends.Lookup(topic, partition); end.Offset != records/2 {
			return fmt.Errorf("partition %d ends at %d", partition, end.Offset)
		}
	}
	start := kgo.NewOffset().AtStart()
	reader, err := kgo.NewClient(kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: start, 1: start}}))
	if err != nil {
		return err
	}
	defer reader.Close()
	for read := 0; read < records; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		for _, record := range fetches.Records() {
			n := int(record.Offset)*2 + int(record.Partition)
			if string(record.Key) != fmt.Sprint(n) || string(record.Value) != value(n) || len(record.Headers) != 1 || record.Headers[0].Value[0] != byte(n) {
				return fmt.Errorf("partition %d offset %d holds key %q", record.Partition, record.Offset, record.Key)
			}
			read++
		}
	}
	return nil
}
