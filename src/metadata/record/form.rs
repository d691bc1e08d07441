//! How the shared nouns look in a record's JSON: numbers as numbers, ids as Kafka prints them. `types` knows no serialisation, so each noun
//! gets its two functions here, named by `#[serde(with = ...)]`.

macro_rules! number_form {
    ($name:ident, $noun:ident, $inner:ty) => {
        pub mod $name {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use crate::types::$noun;

            pub fn serialize<S: Serializer>(noun: &$noun, serializer: S) -> Result<S::Ok, S::Error> {
                noun.get().serialize(serializer)
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$noun, D::Error> {
                <$inner>::deserialize(deserializer).map($noun)
            }
        }
    };
}

number_form!(node, NodeId, i32);
number_form!(broker_epoch, BrokerEpoch, i64);
number_form!(leader_epoch, LeaderEpoch, i32);
number_form!(partition_epoch, PartitionEpoch, i32);
number_form!(partition_index, PartitionIndex, i32);

pub mod maybe_node {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::types::NodeId;

    pub fn serialize<S: Serializer>(node: &Option<NodeId>, serializer: S) -> Result<S::Ok, S::Error> {
        node.map(NodeId::get).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeId>, D::Error> {
        Ok(Option::<i32>::deserialize(deserializer)?.map(NodeId))
    }
}

pub mod nodes {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::NodeId;

    pub fn serialize<S: Serializer>(nodes: &[NodeId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(nodes.iter().map(|node| node.get()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeId>, D::Error> {
        let numbers = Vec::<i32>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(NodeId).collect())
    }
}

pub mod maybe_nodes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::types::NodeId;

    pub fn serialize<S: Serializer>(nodes: &Option<Vec<NodeId>>, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers: Option<Vec<i32>> = nodes.as_ref().map(|nodes| nodes.iter().map(|node| node.get()).collect());
        numbers.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<NodeId>>, D::Error> {
        let numbers = Option::<Vec<i32>>::deserialize(deserializer)?;
        Ok(numbers.map(|numbers| numbers.into_iter().map(NodeId).collect()))
    }
}

pub mod topic_id {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::types::TopicId;

    pub fn serialize<S: Serializer>(id: &TopicId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicId, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

pub mod topic_name {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::TopicName;

    pub fn serialize<S: Serializer>(name: &TopicName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicName, D::Error> {
        Ok(TopicName::new(&Cow::<'de, str>::deserialize(deserializer)?))
    }
}
