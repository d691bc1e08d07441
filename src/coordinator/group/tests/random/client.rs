//! A consumer, as a client library behaves: one request at a time, and each answer decides the next.

use kafka_protocol::messages::{JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use super::super::offsets::commit_request;
use super::super::*;
use super::world::PARTITIONS;
use crate::wire::error::ErrorCode as E;

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Not in the group, or told to join again.
    Out,
    /// Has joined: who is in the generation, if it leads.
    Joined {
        members: Vec<String>,
    },
    Member,
    /// Its program is not there.
    Crashed,
}

#[derive(Debug)]
pub(super) struct Client {
    pub group: &'static str,
    pub instance: Option<String>,
    pub version: i16,
    pub member_id: String,
    pub generation: i32,
    pub phase: Phase,
    /// The request whose answer it waits for.
    pub waits_for: Option<Token>,
    pub paused_until: Monotonic,
    /// Changes what it tells the leader.
    pub mood: u8,
    pub owned: Vec<i32>,
}

impl Client {
    pub fn new(group: &'static str, instance: Option<String>, version: i16) -> Self {
        Self {
            group,
            instance,
            version,
            member_id: String::new(),
            generation: -1,
            phase: Phase::Crashed,
            waits_for: None,
            paused_until: Monotonic::from_nanos(0),
            mood: 0,
            owned: Vec::new(),
        }
    }

    pub fn crash(&mut self) {
        self.phase = Phase::Crashed;
        self.waits_for = None;
        self.member_id.clear();
        self.owned.clear();
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.instance.as_deref().map(text)
    }

    fn join(&self) -> JoinGroupRequest {
        let mut metadata = subscription_to(&["t"]).to_vec();
        metadata.push(self.mood);
        let join = Join::new(&self.member_id).knows(&[("range", &metadata), ("roundrobin", &metadata)]);
        join.request.with_group_id(group_id(self.group)).with_group_instance_id(self.instance_id())
    }

    fn sync(&self, members: &[String]) -> SyncGroupRequest {
        let part = |(number, member): (usize, &String)| {
            let owned: Vec<u8> = (0..PARTITIONS as u8).filter(|partition| *partition as usize % members.len() == number).collect();
            (member.clone(), owned)
        };
        let parts: Vec<(String, Vec<u8>)> = members.iter().enumerate().map(part).collect();
        let parts: Vec<(&str, &[u8])> = parts.iter().map(|(member, owned)| (member.as_str(), owned.as_slice())).collect();
        sync_request(&self.member_id, self.generation, &parts)
            .with_group_id(group_id(self.group))
            .with_group_instance_id(self.instance_id())
            .with_protocol_name(None)
            .with_protocol_type(None)
    }

    fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(group_id(self.group))
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.instance_id())
            .with_generation_id(self.generation)
    }

    pub fn leaving(&self) -> LeaveGroupRequest {
        let member = MemberIdentity::default().with_member_id(text(&self.member_id)).with_group_instance_id(self.instance_id());
        LeaveGroupRequest::default().with_group_id(group_id(self.group)).with_members(vec![member])
    }

    /// What it asks next, in which version. `draw` gives numbers under a bound.
    pub fn next(&mut self, draw: &mut impl FnMut(u64) -> u64) -> Option<(i16, Request)> {
        match &self.phase {
            Phase::Crashed => None,
            Phase::Out => Some((self.version, Request::Join(self.join()))),
            Phase::Joined { members } => Some((4, Request::Sync(self.sync(members)))),
            Phase::Member => Some(match draw(40) {
                0 => (5, Request::Leave(self.leaving())),
                1 => {
                    self.mood = self.mood.wrapping_add(1);
                    (self.version, Request::Join(self.join()))
                }
                2..=19 if !self.owned.is_empty() => {
                    let partition = self.owned[draw(self.owned.len() as u64) as usize];
                    let request = commit_request(&self.member_id, self.generation, "t", partition, draw(1_000_000) as i64);
                    let request = request.with_group_id(group_id(self.group)).with_group_instance_id(self.instance_id());
                    (8, Request::Commit(request))
                }
                _ => (4, Request::Heartbeat(self.heartbeat())),
            }),
        }
    }

    /// Takes the answer to what it asked.
    pub fn hear(&mut self, answer: &Answer) {
        match answer {
            Answer::Join(answer) => self.hear_join(answer),
            Answer::Sync(answer) if answer.error_code == 0 => {
                self.owned = answer.assignment.iter().map(|partition| i32::from(*partition)).collect();
                self.phase = Phase::Member;
            }
            Answer::Sync(answer) => self.hear_error(answer.error_code),
            Answer::Heartbeat(answer) => self.hear_error(answer.error_code),
            Answer::Commit(answer) => self.hear_error(answer.topics[0].partitions[0].error_code),
            Answer::Leave(_) => {
                self.member_id.clear();
                self.phase = Phase::Out;
            }
            _ => {}
        }
    }

    fn hear_join(&mut self, answer: &JoinGroupResponse) {
        if answer.error_code == E::MemberIdRequired.code() {
            self.member_id = answer.member_id.to_string();
            self.phase = Phase::Out;
        } else if answer.error_code == 0 {
            self.member_id = answer.member_id.to_string();
            self.generation = answer.generation_id;
            let leads = answer.leader == answer.member_id && !answer.skip_assignment;
            let members = if leads { answer.members.iter().map(|member| member.member_id.to_string()).collect() } else { Vec::new() };
            self.phase = Phase::Joined { members };
        } else {
            self.hear_error(answer.error_code);
        }
    }

    fn hear_error(&mut self, error: i16) {
        match E::from_code(error) {
            Some(E::None) => return,
            // Another took its name.
            Some(E::FencedInstanceId) => return self.crash(),
            Some(E::UnknownMemberId | E::GroupIdNotFound) => self.member_id.clear(),
            _ => {}
        }
        self.owned.clear();
        self.phase = Phase::Out;
    }
}
