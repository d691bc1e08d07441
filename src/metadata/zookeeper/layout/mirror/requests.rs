//! What others ask for in the nodes, and what becomes of it there.

use std::collections::BTreeSet;

use super::super::node::{NotificationNode, parse_wishes};
use super::super::publication::{self, Write};
use super::super::request::{ConfigRequest, TopicRequest, config_entity, config_request, judge_topic, refused_entity};
use super::super::{CONFIG_CHANGES, DELETE_TOPICS, PREFERRED_ELECTION, REASSIGNMENT, TOPICS, delete_path, topic_config_path, topic_path};
use super::{Mirror, Watched};
use crate::io::tree::{Node, Tree, TreeError, Watch};
use crate::metadata::decision::{ConfigChange, ConfigEdit, DeleteTopic};
use crate::metadata::home::{PartitionWish, Proposal, Proposed};
use crate::metadata::image::{MetadataImage, Overrides};
use crate::metadata::record::Resource;
use crate::types::TopicId;

impl<T: Tree> Mirror<T> {
    fn watch(&self, watched: Watched, watch: Watch) {
        let mut state = self.state.borrow_mut();
        state.watched.insert(watched.clone());
        state.watches.push(Box::pin(async move {
            watch.fired().await;
            watched
        }));
    }

    fn is_watched(&self, watched: &Watched) -> bool {
        self.state.borrow().watched.contains(watched)
    }

    /// What others ask for, in an order in which it can be carried out. What is no request is put right on the way. A request stays until
    /// it is settled.
    pub async fn asked(&self) -> Result<Vec<Proposal>, TreeError> {
        let Some(image) = self.state.borrow().shown.clone() else { return Ok(vec![]) };
        let mut proposals = self.asked_of_topics(&image).await?;
        proposals.extend(self.asked_of_configs(&image).await?);
        proposals.extend(self.asked_deletions().await?);
        proposals.extend(self.asked_of_partitions(REASSIGNMENT, Watched::Reassignment, Proposed::Reassign).await?);
        proposals.extend(self.asked_of_partitions(PREFERRED_ELECTION, Watched::PreferredElection, Proposed::ElectPreferred).await?);
        Ok(proposals)
    }

    async fn asked_of_topics(&self, image: &MetadataImage) -> Result<Vec<Proposal>, TreeError> {
        if let Some(names) = self.children(TOPICS, Watched::Topics).await? {
            self.on_topics(image, &names).await?;
        }
        let unread = self.state.borrow().unread.clone();
        let mut proposals = vec![];
        for topic in unread {
            let change = self.asked_of_topic(image, &topic).await?;
            match change {
                Some(change) => proposals.push(Proposal { token: topic_path(&topic), change }),
                None => drop(self.state.borrow_mut().unread.remove(&topic)),
            }
        }
        Ok(proposals)
    }

    /// Names of topics' nodes have come or gone.
    async fn on_topics(&self, image: &MetadataImage, names: &[String]) -> Result<(), TreeError> {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        {
            let mut state = self.state.borrow_mut();
            for name in &names {
                // Those that are known are watched one by one.
                if !state.watched.contains(&Watched::Topic((*name).to_owned())) {
                    state.unread.insert((*name).to_owned());
                }
            }
        }
        let epoch = image.controller().map_or(0, |controller| controller.epoch);
        let missing = image.topics().filter(|topic| !names.contains(topic.name.as_str()));
        for topic in missing {
            tracing::warn!(
                "{} is gone from ZooKeeper and is written again: topics are deleted through {DELETE_TOPICS}",
                topic_path(topic.name.as_str())
            );
            self.state.borrow_mut().versions.remove(&topic_path(topic.name.as_str()));
            self.carry_out(publication::topic_writes(topic, epoch)).await?;
        }
        Ok(())
    }

    async fn asked_of_topic(&self, image: &MetadataImage, name: &str) -> Result<Option<Proposed>, TreeError> {
        let path = topic_path(name);
        let watched = Watched::Topic(name.to_owned());
        let node = if self.is_watched(&watched) {
            self.tree.get(&path).await?
        } else {
            let (node, watch) = self.tree.get_watched(&path).await?;
            if node.is_some() {
                self.watch(watched, watch);
            }
            node
        };
        let Some(node) = node else { return Ok(None) };
        self.state.borrow_mut().versions.insert(path.clone(), node.stat.version);
        let config = match image.topic_by_name(name) {
            Some(_) => None,
            None => self.read_shared(&topic_config_path(name)).await?,
        };
        match judge_topic(image, name, &node.content, config.as_deref()) {
            TopicRequest::None => Ok(None),
            TopicRequest::Restore(why) => {
                if let Some(why) = why {
                    tracing::warn!("what was written to {path} is not done: {why}");
                }
                self.restore_topic(image, name).await?;
                Ok(None)
            }
            TopicRequest::Remove => {
                self.carry_out(publication::topic_removal(name).into()).await?;
                Ok(None)
            }
            TopicRequest::Refuse(why) => {
                tracing::warn!("the topic that was written to {path} is refused: {why}");
                self.carry_out(publication::topic_removal(name).into()).await?;
                Ok(None)
            }
            TopicRequest::Create(topic) => Ok(Some(Proposed::CreateTopic(topic))),
            TopicRequest::Grow(growth) => Ok(Some(Proposed::CreatePartitions(growth))),
        }
    }

    async fn restore_topic(&self, image: &MetadataImage, name: &str) -> Result<(), TreeError> {
        let writes = image.topic_by_name(name).map(|topic| publication::topic_write(topic));
        self.carry_out(writes.into_iter().collect()).await
    }

    async fn asked_of_configs(&self, image: &MetadataImage) -> Result<Vec<Proposal>, TreeError> {
        let mut proposals = vec![];
        let mut named = BTreeSet::new();
        for name in self.children(CONFIG_CHANGES, Watched::ConfigChanges).await?.unwrap_or_default() {
            let token = format!("{CONFIG_CHANGES}/{name}");
            let Some(notification) = self.tree.get(&token).await? else { continue };
            let entity = NotificationNode::parse(&notification.content).map(|notification| notification.entity_path);
            let (resource, path) = match entity.as_deref().map_err(ToString::to_string).and_then(config_entity) {
                Ok(found) => found,
                Err(why) => {
                    tracing::warn!("{token} is not obeyed: {why}");
                    // What does not hold is not to be found there either.
                    if let Some(refused) = entity.ok().as_deref().and_then(refused_entity) {
                        self.remove(&refused).await?;
                    }
                    self.remove(&token).await?;
                    continue;
                }
            };
            named.insert(path.clone());
            let content = self.read_shared(&path).await?;
            match config_request(image, resource, content.as_deref()) {
                ConfigRequest::None => self.remove(&token).await?,
                ConfigRequest::Refuse(why) => {
                    tracing::warn!("what was written to {path} is not done: {why}");
                    self.remove(&token).await?;
                }
                ConfigRequest::Alter(alteration) => proposals.push(Proposal { token, change: Proposed::AlterConfigs(alteration) }),
            }
        }
        self.check_configs(image, &named).await?;
        Ok(proposals)
    }

    /// Once, writes the configs that are not as in the image and that nobody asks for: what a controller before this one did not get to.
    async fn check_configs(&self, image: &MetadataImage, named: &BTreeSet<String>) -> Result<(), TreeError> {
        if self.state.borrow().are_configs_checked {
            return Ok(());
        }
        for write in publication::config_writes(image) {
            let Write::Share { path, content } = write else { continue };
            if !named.contains(&path) && self.read_shared(&path).await?.as_ref() != Some(&content) {
                self.share(path, content).await?;
            }
        }
        self.state.borrow_mut().are_configs_checked = true;
        Ok(())
    }

    async fn asked_deletions(&self) -> Result<Vec<Proposal>, TreeError> {
        let names = self.children(DELETE_TOPICS, Watched::Deletions).await?.unwrap_or_default();
        let proposal = |name: String| Proposal {
            token: delete_path(&name),
            change: Proposed::DeleteTopic(DeleteTopic { name: Some(name), id: TopicId::ZERO }),
        };
        Ok(names.into_iter().map(proposal).collect())
    }

    /// What a tool asks for partitions in a node that it makes.
    async fn asked_of_partitions(
        &self,
        path: &str,
        watched: Watched,
        proposed: impl FnOnce(Vec<PartitionWish>) -> Proposed,
    ) -> Result<Option<Proposal>, TreeError> {
        let Some(node) = self.get(path, watched).await? else { return Ok(None) };
        match parse_wishes(&node.content) {
            Ok(wishes) => Ok(Some(Proposal { token: path.to_owned(), change: proposed(wishes) })),
            Err(error) => {
                tracing::warn!("{path} is not obeyed: {error}");
                self.remove(path).await?;
                Ok(None)
            }
        }
    }

    /// A node that is watched from here on, whether it is there or not.
    async fn get(&self, path: &str, watched: Watched) -> Result<Option<Node>, TreeError> {
        if self.is_watched(&watched) {
            return self.tree.get(path).await;
        }
        let (node, watch) = self.tree.get_watched(path).await?;
        self.watch(watched, watch);
        Ok(node)
    }

    /// Children of a node that is watched from here on.
    async fn children(&self, path: &str, watched: Watched) -> Result<Option<Vec<String>>, TreeError> {
        if self.is_watched(&watched) {
            return self.tree.children(path).await;
        }
        let (children, watch) = self.tree.children_watched(path).await?;
        self.watch(watched, watch);
        Ok(children)
    }

    async fn read_shared(&self, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
        let node = self.tree.get(path).await?;
        if let Some(node) = &node {
            self.state.borrow_mut().versions.insert(path.to_owned(), node.stat.version);
        }
        Ok(node.map(|node| node.content))
    }

    /// The request has been carried out, and shown, or refused: takes it away, and puts right what it leaves.
    pub async fn settle(&self, proposal: &Proposal) -> Result<(), TreeError> {
        let Some(image) = self.state.borrow().shown.clone() else { return Ok(()) };
        match &proposal.change {
            Proposed::CreateTopic(topic) => {
                if image.topic_by_name(&topic.name).is_none() {
                    self.carry_out(publication::topic_removal(&topic.name).into()).await?;
                }
                self.state.borrow_mut().unread.remove(&topic.name);
            }
            Proposed::CreatePartitions(growth) => {
                let done = image.topic_by_name(&growth.name).is_none_or(|topic| topic.partition_count() >= growth.count);
                self.state.borrow_mut().unread.remove(&growth.name);
                // Where it has been written again meanwhile, it is read again.
                if !done && let Err(error) = self.restore_topic(&image, &growth.name).await {
                    self.state.borrow_mut().unread.insert(growth.name.clone());
                    return Err(error);
                }
            }
            Proposed::AlterConfigs(alteration) => {
                let resource = &alteration.resource;
                let is_there = !matches!(resource, Resource::Topic(name) if image.topic_by_name(name.as_str()).is_none());
                if is_there && !alteration.edits.iter().all(|edit| stands(image.config(resource), edit)) {
                    self.carry_out(publication::config_write(&image, resource).into_iter().collect()).await?;
                }
                self.remove(&proposal.token).await?;
            }
            Proposed::DeleteTopic(_) | Proposed::Reassign(_) | Proposed::ElectPreferred(_) => self.remove(&proposal.token).await?,
        }
        Ok(())
    }
}

/// Whether the configs are as the edit wants them.
fn stands(overrides: &Overrides, edit: &ConfigEdit) -> bool {
    match &edit.change {
        ConfigChange::Set(value) => overrides.get(&edit.key) == Some(value),
        ConfigChange::Delete => !overrides.contains_key(&edit.key),
        // No node asks for these.
        ConfigChange::Append(_) | ConfigChange::Subtract(_) => false,
    }
}
