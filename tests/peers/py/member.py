"""A member of a consumer group: `member.py LIBRARY BOOTSTRAP TOPIC GROUP ASSIGNOR SESSION_MS [INSTANCE]`, with confluent-kafka or
kafka-python. Commits what it has read after each poll, and leaves on SIGTERM. Prints, each on a line of its own:

    + 0,2       partitions it was given
    - 0,2       partitions that were taken from it
    r 2 17      a record it has read: partition and offset
"""
import signal
import sys

library, bootstrap, topic, group, assignor, session_ms = sys.argv[1:7]
instance = sys.argv[7] if len(sys.argv) > 7 else None
running = True


def stop(*_):
    global running
    running = False


def say(what, partitions):
    print(what, ",".join(str(partition.partition) for partition in partitions), flush=True)


def confluent():
    from confluent_kafka import Consumer

    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": int(session_ms),
        "heartbeat.interval.ms": 300,
        "partition.assignment.strategy": assignor,
        "topic.metadata.refresh.interval.ms": 2000,
        "fetch.wait.max.ms": 100,
    }
    if instance:
        settings["group.instance.id"] = instance
    consumer = Consumer(settings)
    consumer.subscribe([topic], on_assign=lambda _, parts: say("+", parts), on_revoke=lambda _, parts: say("-", parts),
                       on_lost=lambda _, parts: say("-", parts))
    while running:
        messages = consumer.consume(100, 0.1)
        for message in messages:
            if message.error():
                raise message.error()
            print("r", message.partition(), message.offset(), flush=True)
        if messages:
            commit(consumer)
    consumer.close()


def commit(consumer):
    from confluent_kafka import KafkaError, KafkaException

    try:
        consumer.commit(asynchronous=False)
    except KafkaException as why:
        # The group moved on, or nothing is left to commit.
        moved = (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._NO_OFFSET)
        if why.args[0].code() not in moved:
            raise


def kafka_python():
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from kafka.errors import CommitFailedError, KafkaError

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            say("+", assigned)

        def on_partitions_revoked(self, revoked):
            say("-", revoked)

        def on_partitions_lost(self, lost):
            say("-", lost)

    assignors = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor,
                 "cooperative-sticky": CooperativeStickyAssignor}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, group_instance_id=instance, auto_offset_reset="earliest",
                             enable_auto_commit=False, session_timeout_ms=int(session_ms), heartbeat_interval_ms=300,
                             partition_assignment_strategy=[assignors[assignor]], metadata_max_age_ms=2000, fetch_max_wait_ms=100)
    consumer.subscribe([topic], listener=Listener())
    while running:
        read = consumer.poll(timeout_ms=100)
        for records in read.values():
            for record in records:
                print("r", record.partition, record.offset, flush=True)
        if read:
            try:
                consumer.commit()
            except CommitFailedError:
                pass
    consumer.close()


signal.signal(signal.SIGTERM, stop)
confluent() if library == "confluent-kafka" else kafka_python()
