//! Keys of listeners, connections and requests.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Each, EachOrNone};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "advertised.listeners", List = null, Each(&[]), High, ReadOnly, Served,
        "Names and ports that clients and other brokers are told to connect to; by default those of listeners.";
    "connections.max.idle.ms", Long = "600000", Any, Medium, ReadOnly, Served,
        "Milliseconds without a request after which a connection is closed; negative means never.";
    "controller.socket.timeout.ms", Int = "30000", Any, Medium, ReadOnly, SizesOnly,
        "Milliseconds a request between controller and broker may take.";
    "early.start.listeners", List = null, EachOrNone(&[]), High, ReadOnly, SizesOnly,
        "Listeners that open before authorization is ready; by default the controllers' own.";
    "fetch.max.bytes", Int = "57671680", AtLeast(1024), Medium, ReadOnly, Served,
        "Most bytes answered to one fetch, whatever the client asks for; the first batch is always answered whole.";
    "inter.broker.listener.name", Text = null, Any, Medium, ReadOnly, Served,
        "Name of the listener that brokers use among themselves.";
    "listener.security.protocol.map", Text = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Any, Low, PerBroker, Served,
        "Security protocol of each listener name, as NAME:PROTOCOL pairs separated by commas.";
    "listeners", List = "PLAINTEXT://127.0.0.1:9092", Each(&[]), High, PerBroker, Served,
        "Addresses this broker listens on, as NAME://host:port separated by commas; an empty host means every interface.";
    "max.connection.creation.rate", Int = "2147483647", AtLeast(0), Medium, ClusterWide, Served,
        "Most new connections accepted per second; those that come faster wait.";
    "max.connections", Int = "2147483647", AtLeast(0), Medium, ClusterWide, Served,
        "Most connections open at one time.";
    "max.connections.per.ip", Int = "2147483647", AtLeast(0), Medium, ClusterWide, Served,
        "Most connections open at one time from one address.";
    "max.connections.per.ip.overrides", Text = "", Any, Medium, ClusterWide, Served,
        "Limits for single addresses or host names in place of max.connections.per.ip, as host:count separated by commas.";
    "max.incremental.fetch.session.cache.slots", Int = "1000", AtLeast(0), Medium, ReadOnly, Served,
        "Most incremental fetch sessions kept.";
    "max.request.partition.size.limit", Int = "2000", AtLeast(1), Medium, ReadOnly, Served,
        "Most partitions answered by one DescribeTopicPartitions request.";
    "num.io.threads", Int = "8", AtLeast(1), High, ClusterWide, SizesOnly,
        "Request threads of Kafka; here one shard per core does the work.";
    "num.network.threads", Int = "3", AtLeast(1), High, ClusterWide, SizesOnly,
        "Network threads of Kafka; here one shard per core does the work.";
    "queued.max.request.bytes", Long = "-1", Any, Medium, ReadOnly, SizesOnly,
        "Bytes of requests Kafka queues before it stops reading; here see ottla.memory.receive.bytes.";
    "queued.max.requests", Int = "500", AtLeast(1), High, ReadOnly, SizesOnly,
        "Requests Kafka queues before it stops reading; here see ottla.connection.in.flight.max.";
    "request.timeout.ms", Int = "30000", Any, High, ReadOnly, SizesOnly,
        "Milliseconds a request from this broker to another may take.";
    "socket.connection.setup.timeout.max.ms", Long = "30000", Any, Medium, ReadOnly, SizesOnly,
        "Longest time, in milliseconds, a connection to another broker may take to open.";
    "socket.connection.setup.timeout.ms", Long = "10000", Any, Medium, ReadOnly, SizesOnly,
        "First time limit, in milliseconds, for a connection to another broker to open.";
    "socket.listen.backlog.size", Int = "50", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Connections that may wait to be accepted; here as many as the system allows (net.core.somaxconn).";
    "socket.receive.buffer.bytes", Int = "102400", Any, High, ReadOnly, SizesOnly,
        "Receive buffer of each connection in Kafka; here the system sizes it by what a connection needs.";
    "socket.request.max.bytes", Int = "104857600", AtLeast(1), High, ReadOnly, Served,
        "Largest request accepted; a larger one closes its connection.";
    "socket.send.buffer.bytes", Int = "102400", Any, High, ReadOnly, SizesOnly,
        "Send buffer of each connection in Kafka; here the system sizes it by what a connection needs.";
};
