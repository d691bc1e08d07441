//! Looks at answers, at whole logs after a restart, and at files.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{FetchResponse, ListOffsetsResponse};
use ottla::io::{EntryKind, World};

use ottla::storage::layout::{DirectoryPhase, PARTITION_METADATA, PartitionDirectory, SegmentFile, SegmentPart, SegmentPhase};
use ottla::wire::api::ApiKey;
use ottla::wire::batch::{self, BatchError};
use ottla::wire::message;

use crate::administering;
use crate::broker::BROKER;
use crate::client::{Broken, Connection};
use crate::model::{Existence, Marks, Model, Place, Target};
use crate::requests::{self, Wanted};
use crate::scenario::{End, Shared};
use crate::shape::Retention;

/// Checks what a fetch at `offset` brought; answers with the offset to go on from.
pub fn fetched(model: &mut Model, place: Place, offset: i64, high_watermark: i64, records: &Bytes) -> i64 {
    let mut next = None;
    for batch in batch::batches(records) {
        let batch = match batch {
            Ok(batch) => batch,
            // What a limit cut off.
            Err(BatchError::Truncated { .. }) if next.is_some() => break,
            Err(error) => {
                model.violate(format!("3: a fetch of {place:?} at {offset}, next {next:?}: {error}"));
                break;
            }
        };
        let (base, end) = (batch.header.base_offset.get(), batch.header.next_offset().get());
        match next {
            None if base <= offset && offset < end => {}
            Some(next) if base == next => {}
            _ => model.violate(format!("1: a fetch of {place:?} at {offset} brought {base}..{end} where {next:?} was next")),
        }
        if end > high_watermark {
            model.violate(format!("3: a fetch of {place:?} brought {base}..{end} beyond the high watermark {high_watermark}"));
        }
        next = Some(end);
        model.read(place, &batch);
    }
    next.unwrap_or(offset)
}

/// Checks an answer to ListOffsets that was asked for when `floor` held.
pub fn looked_up(model: &mut Model, place: Place, wanted: i64, floor: Marks, (offset, timestamp): (i64, i64)) {
    let keeps_all = model.keeps_all(place.0);
    match wanted {
        requests::LATEST if offset < floor.high_watermark => {
            model.violate(format!("4: the latest offset of {place:?} is {offset} after {}", floor.high_watermark));
        }
        requests::EARLIEST if offset < floor.log_start || (keeps_all && offset != 0) => {
            model.violate(format!("4: the earliest offset of {place:?} is {offset} after {}", floor.log_start));
        }
        requests::LATEST | requests::EARLIEST => {}
        _ => {
            // The broker stamps some topics; then the timestamps that were sent say nothing.
            if model.topics.values().any(|topic| topic.id == Some(place.0) && topic.shape.log_append_time) {
                return;
            }
            if offset >= 0 && timestamp < wanted {
                model.violate(format!("offset {offset} of {place:?}, of {timestamp}, was answered for {wanted}"));
            }
            let partition = model.partitions.entry(place).or_default();
            // Wholly before the answer, known when it was asked for, and late enough.
            let end = if offset < 0 { floor.high_watermark } else { offset.min(floor.high_watermark) };
            let missed = partition.entries.iter().find(|(base, number)| {
                let sent = &model.sent[**number];
                **base >= floor.log_start && **base + sent.records <= end && sent.timestamp_last >= wanted
            });
            if let Some((base, number)) = missed
                && keeps_all
            {
                let late = model.sent[*number].timestamp_last;
                let what = format!("offset {offset} of {place:?} was answered for {wanted}, the batch at {base} has {late}");
                model.violate(what);
            }
        }
    }
}

/// After a start, before clients come: every topic as it must be, every log read from start to end.
pub async fn audit(shared: &Rc<Shared>, end: End) -> Result<(), Broken> {
    shared.control.spare(crate::scenario::AUDITOR);
    let world = shared.control.world(crate::scenario::AUDITOR, 0);
    let mut connection = Connection::open(shared, &world).await?;
    let leader_epochs = settle_topics(shared, &mut connection).await?;
    let targets = shared.model.borrow().targets();
    for topic in targets {
        for partition in 0..topic.shape.partitions {
            audit_log(shared, &mut connection, &topic, partition, end).await?;
            let place = (topic.id, partition);
            let mut model = shared.model.borrow_mut();
            let now = (model.starts, leader_epochs.get(&place).copied().unwrap_or(-1));
            let before = std::mem::replace(&mut model.partition(place).leader_epoch, now);
            if before.0 > 0 && before.0 < now.0 && before.1 >= now.1 {
                model.violate(format!("7: {place:?} has the leader epoch {} after {}", now.1, before.1));
            }
        }
    }
    let mut model = shared.model.borrow_mut();
    model.close_open_fates();
    model.count("audit");
    Ok(())
}

/// Compares the topics that are shown with those that must be there, and learns what became of the doubtful ones.
async fn settle_topics(shared: &Rc<Shared>, connection: &mut Connection) -> Result<BTreeMap<Place, i32>, Broken> {
    let response = administering::metadata(shared, connection).await?;
    let mut model = shared.model.borrow_mut();
    let mut leader_epochs = BTreeMap::new();
    let mut shown = BTreeMap::new();
    for topic in &response.topics {
        let id = message::topic_id_of(topic.topic_id);
        shown.insert(topic.name.as_ref().map_or(String::new(), |name| name.to_string()), id);
        for partition in &topic.partitions {
            let place = (id, partition.partition_index);
            if partition.leader_id.0 < 0 && !model.faulted {
                model.violate(format!("8: {place:?} has no leader after a restart"));
            }
            leader_epochs.insert(place, partition.leader_epoch);
        }
    }
    let names: Vec<String> = model.topics.keys().cloned().collect();
    for name in names {
        let (existence, known) = (model.topics[&name].existence, model.topics[&name].id);
        let found = shown.get(&name).copied();
        match existence {
            Existence::Absent if found.is_some() => model.violate(format!("6: the deleted topic {name} is shown after a restart")),
            Existence::Present if found != known => {
                model.violate(format!("6: topic {name} is {found:?} after a restart, it was {known:?}"))
            }
            Existence::Absent | Existence::Present => {}
            Existence::Creating | Existence::Deleting | Existence::Unknown => match found {
                Some(id) if known.is_some_and(|known| known != id) => {
                    model.violate(format!("6: topic {name} is {id} after a restart, it was {known:?}"));
                }
                Some(id) => {
                    let topic = model.topics.get_mut(&name).expect("named above");
                    (topic.existence, topic.id) = (Existence::Present, Some(id));
                }
                None => model.bury(&name),
            },
        }
    }
    Ok(leader_epochs)
}

async fn audit_log(shared: &Rc<Shared>, connection: &mut Connection, topic: &Target, partition: i32, end: End) -> Result<(), Broken> {
    let place = (topic.id, partition);
    let start = offset_of(shared, connection, topic, partition, requests::EARLIEST).await?;
    let log_end = offset_of(shared, connection, topic, partition, requests::LATEST).await?;
    let mut offset = start;
    let mut bases = Vec::new();
    while offset < log_end {
        let wanted = Wanted { topic: topic.clone(), partition, offset, max_bytes: 1 << 20 };
        let request = requests::fetch(18, std::slice::from_ref(&wanted), 0, 1, 1 << 20);
        let response: FetchResponse = connection.call(ApiKey::Fetch, 18, &request).await?;
        let mut model = shared.model.borrow_mut();
        let Some(answer) = response.responses.first().and_then(|topic| topic.partitions.first()) else {
            model.violate(format!("{place:?} at {offset} was not answered"));
            return Err(Broken);
        };
        let records = answer.records.clone().unwrap_or_default();
        if answer.error_code == requests::OFFSET_OUT_OF_RANGE && topic.shape.retention != Retention::Forever {
            // Retention was faster: what is left is not comparable.
            bases.clear();
            break;
        }
        if answer.error_code != requests::NONE || records.is_empty() {
            model.violate(format!("{place:?} ends at {log_end}; at {offset}: error {}, {} bytes", answer.error_code, records.len()));
            return Err(Broken);
        }
        bases.extend(batch::batches(&records).flatten().map(|batch| batch.header.base_offset.get()));
        offset = fetched(&mut model, place, offset, answer.high_watermark, &records);
    }
    let mut model = shared.model.borrow_mut();
    survived(&mut model, topic, partition, (start, log_end), end, shared.control.world(BROKER, 0).wall().get());
    if offset == log_end {
        missing_within(&mut model, place, (start, log_end), &bases, end);
    }
    model.settle(place, start, log_end);
    model.partition(place).read_whole = offset == log_end;
    Ok(())
}

/// Whether all is there that had to outlive the end of the last life.
fn survived(model: &mut Model, topic: &Target, partition: i32, (start, log_end): (i64, i64), end: End, now_ms: i64) {
    let place = (topic.id, partition);
    let shown = model.floor(place).high_watermark;
    let may_lose = match (end, topic.shape.flush_messages) {
        (End::Nothing | End::Clean | End::Kill, _) => 0,
        (End::PowerLoss, Some(count)) => count as i64 - 1,
        (End::PowerLoss, None) => i64::MAX,
    };
    if shown.saturating_sub(log_end) > may_lose {
        model.violate(format!(
            "{place:?} ends at {log_end} after {end:?}, {shown} was shown or acknowledged, flush.messages {:?}",
            topic.shape.flush_messages
        ));
    }
    // What left at the front was due, or deleted; what was deleted has left.
    let partition = model.partitions.entry(place).or_default();
    let (asked, answered) = (partition.deletion_asked, partition.deletion_answered);
    if start < answered {
        model.violate(format!("4: {place:?} starts at {start} after {end:?}, records below {answered} were deleted"));
        return;
    }
    for (base, number) in partition.entries.range(..start) {
        let sent = &model.sent[*number];
        let due = match topic.shape.retention {
            Retention::Forever => base + sent.records <= asked,
            Retention::Milliseconds(ms) => topic.shape.log_append_time || sent.timestamp_first + ms <= now_ms,
            Retention::Bytes => true,
        };
        if base + sent.records <= start && !due {
            let what = format!("{place:?} starts at {start} after {end:?}; the batch at {base}, of {}, was not due", sent.timestamp_last);
            model.violate(what);
            return;
        }
    }
}

/// Whether every batch known below the end was among those read.
fn missing_within(model: &mut Model, place: Place, (start, log_end): (i64, i64), bases: &[i64], end: End) {
    let partition = model.partitions.entry(place).or_default();
    let missing = partition.entries.range(start..log_end).map(|(base, _)| *base).find(|base| bases.binary_search(base).is_err());
    if let Some(base) = missing {
        model.violate(format!(
            "1: the batch at {base} of {place:?} is no batch of {start}..{log_end} any more after {end:?}; there are {bases:?}"
        ));
    }
}

async fn offset_of(shared: &Rc<Shared>, connection: &mut Connection, topic: &Target, partition: i32, which: i64) -> Result<i64, Broken> {
    let request = requests::list_offsets(&topic.name, partition, which);
    let response: ListOffsetsResponse = connection.call(ApiKey::ListOffsets, 5, &request).await?;
    let answer =
        response.topics.first().and_then(|topic| topic.partitions.first()).map(|partition| (partition.error_code, partition.offset));
    match answer {
        Some((requests::NONE, offset)) => Ok(offset),
        other => {
            shared.model.borrow_mut().violate(format!("offset {which} of {}-{partition} after a start: {other:?}", topic.name));
            Err(Broken)
        }
    }
}

/// Files of the node as they lie: after an end, before a start.
pub async fn walk_files(shared: &Rc<Shared>, end: End) -> Result<(), String> {
    let world = shared.control.world(BROKER, 0);
    for directory in &shared.shape.directories {
        let Ok(entries) = world.list_dir(Path::new(directory)).await else { continue };
        for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let live = PartitionDirectory::parse(&entry.name).is_some_and(|parsed| parsed.phase == DirectoryPhase::Live);
            if live {
                walk_partition(shared, &Path::new(directory).join(&entry.name), end).await?;
            }
        }
    }
    Ok(())
}

async fn walk_partition(shared: &Rc<Shared>, dir: &Path, end: End) -> Result<(), String> {
    let world = shared.control.world(BROKER, 0);
    let Ok(entries) = world.list_dir(dir).await else { return Ok(()) };
    let mut segments: Vec<SegmentFile> = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name)).collect();
    for snapshot in segments.iter().filter(|file| file.part == SegmentPart::ProducerSnapshot && file.phase == SegmentPhase::Live) {
        check_snapshot(shared, &snapshot.path(dir), snapshot.base.get())?;
    }
    segments.retain(|file| file.part == SegmentPart::Log && file.phase == SegmentPhase::Live);
    segments.sort_by_key(|file| file.base);
    let mut next = None;
    for segment in segments {
        let path = segment.path(dir);
        let bytes = Bytes::from(shared.control.peek(BROKER, &path).map_err(|error| format!("{}: {error}", path.display()))?);
        let whole = walk_segment(&path, &bytes, end, &mut next)?;
        let index = |part| SegmentFile::live(segment.base, part).path(dir);
        check_index(shared, &index(SegmentPart::Index), segment.base.get(), &whole, end)?;
        if end != End::PowerLoss {
            check_time_index(shared, &index(SegmentPart::TimeIndex), segment.base.get(), &whole)?;
        }
    }
    Ok(())
}

/// A whole batch of a file.
struct Found {
    position: u64,
    base: i64,
    last: i64,
    max_timestamp: i64,
}

impl Found {
    /// What the offset index of a segment with this base says of the batch.
    fn index_entry(&self, segment_base: i64) -> [u8; 8] {
        ((self.last - segment_base) as u64 * (1 << 32) + self.position).to_be_bytes()
    }
}

/// Walks a segment's batches. After a clean stop there is nothing else in it, and segments join without a gap.
fn walk_segment(path: &Path, bytes: &Bytes, end: End, next: &mut Option<i64>) -> Result<Vec<Found>, String> {
    let mut whole = Vec::new();
    let mut position = 0;
    for batch in batch::batches(bytes) {
        let batch = match batch {
            Ok(batch) if batch.verify_crc().is_ok() => batch,
            Ok(_) | Err(_) => break,
        };
        let (base, last) = (batch.header.base_offset.get(), batch.header.last_offset().get());
        if end == End::Clean && next.is_some_and(|next| next != base) {
            return Err(format!("{}: {base} at {position} follows {next:?} after a clean stop", path.display()));
        }
        *next = Some(last + 1);
        whole.push(Found { position, base, last, max_timestamp: batch.header.max_timestamp.get() });
        position += batch.bytes.len() as u64;
    }
    if end == End::Clean && position != bytes.len() as u64 {
        return Err(format!(
            "{}: {} bytes after the last whole batch at {position} after a clean stop",
            path.display(),
            bytes.len() as u64 - position
        ));
    }
    Ok(whole)
}

/// Every entry of an offset index points to a whole batch. Zeros stand for what a loss of power took, also of a single entry: memory changes
/// while the device reads it. Behind the last whole batch there may then be entries that were written for a note, and not synced.
fn check_index(shared: &Rc<Shared>, path: &Path, base: i64, whole: &[Found], end: End) -> Result<(), String> {
    let Ok(bytes) = shared.control.peek(BROKER, path) else { return Ok(()) };
    for entry in bytes.chunks_exact(8).filter(|entry| **entry != [0; 8]) {
        let relative = i64::from(u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]));
        let position = u64::from(u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]]));
        let found = whole.binary_search_by_key(&position, |found| found.position).ok().map(|at| &whole[at]);
        let is_torn = || end == End::PowerLoss && whole.iter().any(|found| begins(&found.index_entry(base), entry));
        let is_behind = || end == End::PowerLoss && whole.last().is_none_or(|last| last.last < base + relative);
        if found.is_none_or(|found| found.last != base + relative) && !is_torn() && !is_behind() {
            let at = found.map(|found| (found.base, found.last));
            return Err(format!("{}: entry {} at {position} points to {at:?}", path.display(), base + relative));
        }
    }
    shared.model.borrow_mut().count("index file checked");
    Ok(())
}

/// Whether `torn` is the front of `entry`, with zeros behind.
fn begins(entry: &[u8], torn: &[u8]) -> bool {
    let written = torn.len() - torn.iter().rev().take_while(|byte| **byte == 0).count();
    entry[..written] == torn[..written]
}

/// Every entry of a time index names a batch and its timestamp.
fn check_time_index(shared: &Rc<Shared>, path: &Path, base: i64, whole: &[Found]) -> Result<(), String> {
    let Ok(bytes) = shared.control.peek(BROKER, path) else { return Ok(()) };
    for entry in bytes.chunks_exact(12).filter(|entry| **entry != [0; 12]) {
        let timestamp = i64::from_be_bytes([entry[0], entry[1], entry[2], entry[3], entry[4], entry[5], entry[6], entry[7]]);
        let relative = i64::from(u32::from_be_bytes([entry[8], entry[9], entry[10], entry[11]]));
        let offset = base + relative;
        let found = whole.iter().find(|found| found.base <= offset && offset <= found.last);
        if found.is_none_or(|found| found.max_timestamp != timestamp) {
            let at = found.map(|found| (found.base, found.last, found.max_timestamp));
            return Err(format!("{}: entry of {timestamp} at {offset} meets {at:?}", path.display()));
        }
    }
    Ok(())
}

/// A producer snapshot tells of batches before the offset in its name, or a batch that a loss of power took would be thought stored. One
/// that a crash has torn says nothing.
fn check_snapshot(shared: &Rc<Shared>, path: &Path, base: i64) -> Result<(), String> {
    const HEADER_BYTES: usize = 10;
    const ENTRY_BYTES: usize = 46;
    let Ok(bytes) = shared.control.peek(BROKER, path) else { return Ok(()) };
    let whole = bytes.len() >= HEADER_BYTES && bytes[2..6] == crc32c::crc32c(&bytes[6..]).to_be_bytes();
    for entry in bytes.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(ENTRY_BYTES).filter(|_| whole) {
        let last = entry[14..].first_chunk().map_or(-1, |last| i64::from_be_bytes(*last));
        if last >= base {
            return Err(format!("{}: tells of a batch up to {last}", path.display()));
        }
    }
    Ok(())
}

/// Directories of topics that are gone are gone too, once their delay is over.
pub async fn no_leftovers(shared: &Rc<Shared>) -> Result<(), String> {
    let world = shared.control.world(BROKER, 0);
    world.sleep(Duration::from_secs(15)).await;
    for directory in &shared.shape.directories {
        let Ok(entries) = world.list_dir(Path::new(directory)).await else { continue };
        for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let Some(parsed) = PartitionDirectory::parse(&entry.name) else { continue };
            let path = Path::new(directory).join(&entry.name);
            let has_no_identity = |path: &Path| shared.control.peek(BROKER, &path.join(PARTITION_METADATA)).is_err();
            let model = shared.model.borrow();
            let present = model.topics.get(parsed.topic.as_str()).is_some_and(|topic| topic.existence == Existence::Present);
            let expected = match parsed.phase {
                // Without its id it is of a creation that failed: nobody can tell whose it is, and it holds nothing.
                DirectoryPhase::Live => present || (shared.shape.disk_fails && has_no_identity(&path)),
                // Set aside for the operator.
                DirectoryPhase::Stray => true,
                DirectoryPhase::Deleted | DirectoryPhase::Future => false,
            };
            if !expected {
                return Err(format!("6: {directory}/{} is still there", entry.name));
            }
        }
    }
    Ok(())
}
