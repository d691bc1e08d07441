//! What must hold, of answers and of the machine.

use super::*;
use crate::coordinator::group::roster::State;

impl World {
    pub(super) fn note_answer(&mut self, asked: &Asked, answer: &Answer) -> Result<(), String> {
        match (&asked.call.request, answer) {
            (Request::Join(request), Answer::Join(answer)) if answer.error_code == 0 => {
                let last = self.generations.get(&*request.group_id.0).copied().unwrap_or(0);
                let generation = answer.generation_id;
                must(generation >= last, || format!("a join of {} is told of generation {generation} after {last}", *request.group_id))
            }
            (Request::Sync(request), Answer::Sync(answer)) if answer.error_code == 0 => self.note_assignment(request, &answer.assignment),
            (Request::Commit(request), Answer::Commit(answer)) => {
                let topic = &request.topics[0];
                if answer.topics[0].partitions[0].error_code == 0 {
                    let number = if *topic.name.0 == *EXTRA { asked.extra } else { 1 };
                    let place = (request.group_id.to_string(), topic.name.to_string(), topic.partitions[0].partition_index);
                    self.expected.insert(place, (topic.partitions[0].committed_offset, number));
                }
                Ok(())
            }
            (Request::FetchOffsets(_), Answer::FetchOffsets(answer)) => self.check_fetched(answer),
            (Request::Delete(request), Answer::Delete(answer)) => {
                if answer.results[0].error_code == 0 {
                    self.expected.retain(|(group, _, _), _| **group != *request.groups_names[0].0);
                }
                Ok(())
            }
            (Request::DeleteOffsets(request), Answer::DeleteOffsets(answer)) => {
                let deleted = answer.error_code == 0 && answer.topics[0].partitions[0].error_code == 0;
                if deleted {
                    let topic = &request.topics[0];
                    let place = (request.group_id.to_string(), topic.name.to_string(), topic.partitions[0].partition_index);
                    self.expected.remove(&place);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_assignment(&mut self, request: &SyncGroupRequest, assignment: &[u8]) -> Result<(), String> {
        let (group, generation) = (request.group_id.to_string(), request.generation_id);
        let name = request.group_instance_id.as_ref().unwrap_or(&request.member_id).to_string();
        for partition in assignment {
            let before = self.told.insert((group.clone(), generation, *partition), name.clone());
            let same = before.as_ref().is_none_or(|before| *before == name);
            must(same, || format!("{group}, generation {generation}: {before:?} and {name} were both told of partition {partition}"))?;
        }
        let last = self.generations.get(&group).copied().unwrap_or(-1);
        must(last >= generation, || format!("{group}: {name} has an assignment of generation {generation}, which the log does not tell"))?;
        self.stable.insert((group, generation));
        Ok(())
    }

    fn check_fetched(&self, answer: &OffsetFetchResponse) -> Result<(), String> {
        for group in answer.groups.iter().filter(|group| group.error_code == 0) {
            for topic in &group.topics {
                for partition in &topic.partitions {
                    let place = (group.group_id.to_string(), topic.name.to_string(), partition.partition_index);
                    let expected = self.expected.get(&place).map_or(-1, |(offset, _)| *offset);
                    let got = partition.committed_offset;
                    must(got == expected, || format!("{place:?} is fetched as {got}, and {expected} was committed"))?;
                }
            }
        }
        Ok(())
    }

    /// Right after a load: what was answered is there, and nothing else.
    pub(super) fn check_offsets(&self) -> Result<(), String> {
        let place = |at: &CommittedOffset<'_>| (at.group.to_owned(), at.topic.to_owned(), at.partition);
        let loaded: BTreeMap<Place, i64> = self.machine.committed_offsets().map(|at| (place(&at), at.offset.get())).collect();
        let expected: BTreeMap<Place, i64> = self.expected.iter().map(|(place, (offset, _))| (place.clone(), *offset)).collect();
        must(loaded == expected, || format!("loaded {loaded:?}, and {expected:?} was committed"))
    }

    pub fn check(&self) -> Result<(), String> {
        self.machine.groups.values().try_for_each(|group| {
            self.check_group(group).map_err(|why| format!("{} in generation {}, {:?}: {why}", group.id, group.generation, group.state))
        })
    }

    fn check_group(&self, group: &Group) -> Result<(), String> {
        let empty = group.members().len() == 0;
        must(empty == group.leader.is_none(), || format!("led by {:?}", group.leader))?;
        must(group.state != State::Empty || empty, || "has members".to_owned())?;
        let joining = group.members().filter(|member| member.is_joining()).count();
        must(joining == group.joining(), || format!("{joining} join, {} are counted", group.joining()))?;
        must(joining == 0 || group.state.is_preparing(), || format!("{joining} wait to join"))?;
        let syncing = group.members().filter(|member| member.sync.is_some()).count();
        must(syncing == 0 || group.state == State::CompletingRebalance, || format!("{syncing} wait to sync"))?;
        if group.state != State::Stable {
            return Ok(());
        }
        let mut owners = [0; PARTITIONS];
        for member in group.members() {
            member.assignment.iter().for_each(|partition| owners[usize::from(*partition)] += 1);
            let key = (group.id.to_string(), member.id.to_string());
            let heard = self.alive.get(&key).copied().unwrap_or_default().max(self.loaded_at);
            let silent = self.now.since(heard);
            must(silent <= Duration::from_millis(member.session_timeout_ms as u64), || {
                format!("{} was not heard of for {silent:?} and is still a member", member.id)
            })?;
        }
        must(owners == [1; PARTITIONS], || format!("owners by partition: {owners:?}"))
    }
}
