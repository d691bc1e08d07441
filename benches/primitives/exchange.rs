//! What shards exchange, and what waits on them: mailboxes, deadlines, parked fetches.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla::config::{BrokerSettings, Environment};
use ottla::io::memory::{MemoryWorld, Simulation, SimulationSettings};
use ottla::shard::mailbox::{Kind, Mesh};
use ottla::shard::message::Message;
use ottla::shard::{Parked, Shard, Timers};
use ottla::types::ShardId;

use super::primitive::{Primitive, Work, repeatable};

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

/// Messages of one burst, and fetches parked at once: as many as a shard handles before others get their turn.
const EACH: usize = 64;

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing to wait for"),
    }
}

fn round_trip() -> Work {
    let mesh: Mesh<[u64; 8]> = Mesh::new(2, EACH);
    let (here, there) = (mesh.mailbox(HERE), mesh.mailbox(THERE));
    repeatable(move || {
        let credit = at_once(here.credit(THERE, Kind::Append));
        here.send_request(THERE, [7; 8]);
        let request = at_once(there.receive());
        there.send_internal(HERE, request);
        let reply = at_once(here.receive());
        drop(credit);
        reply
    })
}

fn burst() -> Work {
    let mesh: Mesh<[u64; 8]> = Mesh::new(2, EACH);
    let (here, there) = (mesh.mailbox(HERE), mesh.mailbox(THERE));
    repeatable(move || {
        for number in 0..EACH as u64 {
            here.send_internal(THERE, [number; 8]);
        }
        std::iter::from_fn(|| there.try_receive()).count()
    })
}

fn credit() -> Work {
    let mesh: Mesh<[u64; 8]> = Mesh::new(2, EACH);
    let here = mesh.mailbox(HERE);
    repeatable(move || drop(at_once(here.credit(THERE, Kind::Append))))
}

fn empty_inbox() -> Work {
    let mesh: Mesh<[u64; 8]> = Mesh::new(2, EACH);
    let here = mesh.mailbox(HERE);
    repeatable(move || here.try_receive())
}

/// Mailboxes, without a second thread.
pub fn mailboxes() -> Vec<Primitive> {
    vec![
        Primitive::new("credit, request, receive, reply, receive", round_trip),
        Primitive::new("64 messages sent, then received", burst),
        Primitive::new("credit taken and given back", credit),
        Primitive::new("look into an empty inbox", empty_inbox),
    ]
}

fn set_and_cancelled(waiting: u64) -> Work {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let timers = Timers::new(simulation.world(0, 0));
    let sleep = |timers: &Timers<MemoryWorld>, span: Duration| {
        let timers = timers.clone();
        Box::pin(async move { timers.sleep(span).await })
    };
    let mut others: Vec<_> = (0..waiting).map(|number| sleep(&timers, Duration::from_millis(500 + number))).collect();
    for other in &mut others {
        assert!(poll_once(other.as_mut()).is_pending());
    }
    repeatable(move || {
        let mut sleep = pin!(timers.sleep(Duration::from_secs(1)));
        let still = poll_once(sleep.as_mut()).is_pending();
        assert!(still, "no time passes");
        // They live as long as this work does.
        let _held = (&simulation, &others);
    })
}

/// Deadlines of parked requests.
pub fn deadlines() -> Vec<Primitive> {
    let beside = |waiting| Primitive::new(format!("set and cancelled beside {waiting}"), move || set_and_cancelled(waiting));
    vec![beside(0), beside(10_000)]
}

fn shard(simulation: &Simulation, mesh: &Mesh<Message<MemoryWorld>>) -> Rc<Shard<MemoryWorld>> {
    let environment = Environment { cores: 2, host_names: Vec::new() };
    let resolved = BrokerSettings::resolve(None, &[], &environment).expect("the defaults are sound");
    Shard::new(simulation.world(0, 0), mesh, HERE, Arc::new(resolved.settings))
}

fn wait_on(parked: &Parked) -> Poll<()> {
    parked.rearm();
    poll_once(pin!(parked.woken()))
}

fn parked_and_left() -> Work {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let shard = shard(&simulation, &Mesh::new(2, EACH));
    repeatable(move || {
        let parked: Vec<Parked> = (0..EACH).map(|_| shard.park()).collect();
        let waiting = parked.iter().filter(|parked| wait_on(parked).is_pending()).count();
        assert_eq!((waiting, shard.parked_count()), (EACH, EACH));
        let _held = &simulation;
    })
}

/// The wakes come from another shard, which owns the partitions.
fn parked_and_woken() -> Work {
    let simulation = Simulation::new(1, SimulationSettings::default());
    let mesh = Mesh::new(2, EACH);
    let (shard, there) = (shard(&simulation, &mesh), mesh.mailbox(THERE));
    repeatable(move || {
        let parked: Vec<Parked> = (0..EACH).map(|_| shard.park()).collect();
        for parked in &parked {
            assert!(wait_on(parked).is_pending());
            there.send_internal(HERE, Message::Wake { reader: parked.id.number });
        }
        assert!(poll_once(pin!(shard.clone().run())).is_pending(), "a shard runs until its broker closes");
        let woken = parked.iter().filter(|parked| poll_once(pin!(parked.woken())).is_ready()).count();
        assert_eq!(woken, EACH);
        let _held = &simulation;
    })
}

/// Fetches that wait on the shard of their connection.
pub fn fetches_parked() -> Vec<Primitive> {
    vec![
        Primitive::new("64 fetches park and leave", parked_and_left),
        Primitive::new("64 fetches park, are woken by another shard, leave", parked_and_woken),
    ]
}
