use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::task::Poll;

use futures_lite::future::{poll_fn, zip};

use super::*;
use crate::io::{Follows, Listener, Reader, Writer};

fn simulation(seed: u64) -> Simulation {
    Simulation::new(seed, SimulationSettings::default())
}

/// Files, sockets, sleeps, offloaded work and crashes of three nodes; answers the trace and how often what happened.
fn mixed_run(seed: u64) -> (u64, u64) {
    let sim = Simulation::new(seed, SimulationSettings::swarm(seed));
    sim.change_network(|network| network.cut_one_in = 200);
    sim.change_disk(0, |disk| disk.write_failure_one_in = 50);
    for round in 0..3 {
        for shard in 0..2 {
            sim.spawn(0, shard, serve(sim.world(0, shard)));
            sim.spawn(1, shard, ask(sim.world(1, shard), sim.address(0, 9092)));
            sim.spawn(2, shard, ask(sim.world(2, shard), sim.address(0, 9092)));
        }
        sim.run_for(Duration::from_millis(100)).unwrap();
        sim.partition(0, 1, true);
        sim.hang_disk(0, Duration::from_millis(5));
        sim.run_for(Duration::from_millis(30)).unwrap();
        sim.partition(0, 1, false);
        sim.run_for(Duration::from_millis(30)).unwrap();
        sim.power_loss(round % 2);
        sim.crash(2);
        sim.crash(0);
        sim.crash(1);
    }
    (sim.trace_hash(), sim.counts().values().sum())
}

async fn serve(world: MemoryWorld) {
    let Ok(listener) = world.listen("0.0.0.0:9092".parse().unwrap()).await else { return };
    while let Ok(mut accepted) = listener.accept().await {
        let world = world.clone();
        let connection = world.random();
        world.clone().spawn(Urgency::Foreground, async move {
            let path = PathBuf::from(format!("/{}-{connection}", world.shard()));
            let Ok(file) = world.open(&path, OpenMode::CreateOrKeep).await else { return };
            let mut position = 0;
            let mut buffer = bytes::BytesMut::with_capacity(1000);
            while let Ok(len @ 1..) = accepted.reader.read(&mut buffer).await {
                if file.write_at(position, vec![buffer.split().freeze()]).await.result.is_err() {
                    return;
                }
                if accepted.writer.send_file(&file.share(), position, len as u64, Follows::Nothing).await.is_err() {
                    return;
                }
                position += len as u64;
                buffer.reserve(1000);
            }
        });
    }
}

async fn ask(world: MemoryWorld, address: SocketAddr) {
    loop {
        let Ok((mut reader, mut writer)) = world.connect(address).await else {
            world.sleep(Duration::from_millis(1)).await;
            continue;
        };
        let fill = world.random() as u8;
        let size = 1 + world.random() as usize % 5000;
        let question = world.offload(move || Bytes::from(vec![fill; size])).await;
        let mut answer = bytes::BytesMut::with_capacity(question.len());
        if writer.write_all(question.clone(), Follows::Nothing).await.is_err() {
            continue;
        }
        while answer.len() < question.len() && matches!(reader.read(&mut answer).await, Ok(1..)) {}
        assert_eq!(answer, question[..answer.len()]);
    }
}

#[test]
fn one_seed_is_one_run() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let first = mixed_run(seed);
        assert_eq!(first, mixed_run(seed), "seed {seed}");
        assert!(first.1 > 500, "seed {seed}: {} events", first.1);
        hashes.insert(first.0);
    }
    assert_eq!(hashes.len(), 12, "seeds differ");
}

#[test]
fn what_waits_for_ever_is_reported() {
    let sim = simulation(1);
    let world = sim.world(0, 0);
    assert!(matches!(sim.try_block_on(0, std::future::pending::<()>()), Err(RunError::Stalled { seed: 1, .. })));
    let never = async { world.sleep(Duration::MAX).await };
    assert!(matches!(sim.try_block_on(0, never), Err(RunError::Stalled { .. })));

    let settings = SimulationSettings { steps_max: 1000, ..SimulationSettings::default() };
    let sim = Simulation::new(2, settings);
    let spin = poll_fn::<(), _>(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    assert!(matches!(sim.try_block_on(0, spin), Err(RunError::StepLimit { steps: 1001, .. })));

    let sim = simulation(3);
    let result = sim.run_until(|sim| sim.count("task.poll") > 5, Duration::from_secs(1));
    assert!(matches!(result, Err(RunError::Stalled { .. })));
    let world = sim.world(0, 0);
    sim.spawn(0, 0, async move { world.sleep(Duration::from_secs(10)).await });
    let result = sim.run_until(|sim| sim.count("task.poll") > 5, Duration::from_secs(1));
    assert_eq!(result, Err(RunError::TimeLimit { seed: 3, now: Duration::from_secs(1) }));
}

#[test]
fn time_passes_only_when_nothing_is_ready() {
    let sim = simulation(4);
    let world = sim.world(0, 0);
    let woken = RefCell::new(Vec::new());
    sim.block_on(0, async {
        let nap = async |ms| {
            world.sleep(Duration::from_millis(ms)).await;
            woken.borrow_mut().push((ms, world.monotonic().nanos()));
        };
        zip(nap(20), zip(nap(5), nap(10))).await;
        assert_eq!(world.wall().get(), sim.core.settings.wall_start.get() + 20);
        sim.set_wall_skew_ms(0, -1000);
        assert_eq!(world.wall().get(), sim.core.settings.wall_start.get() - 980);
        let start = world.monotonic();
        while world.monotonic().since(start) < Duration::from_micros(3) {
            world.yield_now().await;
        }
        assert_eq!(world.offload(|| 6 * 7).await, 42);
    });
    assert_eq!(woken.take(), [(5, 5_000_000), (10, 10_000_000), (20, 20_000_000)]);
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert!(sim.now() >= Duration::from_secs(5));
}

#[test]
fn schedules_differ_by_seed_and_background_work_is_not_starved() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let sim = simulation(seed);
        let order = Rc::new(RefCell::new(Vec::new()));
        for (task, urgency) in [Urgency::Foreground, Urgency::Background, Urgency::Foreground].into_iter().enumerate() {
            let (world, order) = (sim.world(0, 0), order.clone());
            sim.world(0, 0).spawn(urgency, async move {
                for _ in 0..3 {
                    order.borrow_mut().push(task);
                    world.yield_now().await;
                }
            });
        }
        sim.run_to_rest().unwrap();
        assert_eq!(order.borrow().len(), 9);
        orders.insert(order.take());
    }
    assert!(orders.len() > 10, "{} orders", orders.len());
}

/// Notes that it was dropped, and tries to go on, as destructors do.
struct Dropped(Option<MemoryWorld>, Rc<Cell<u64>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        let Some(world) = self.0.take() else { return };
        let again = Dropped(None, self.1.clone());
        world.spawn(Urgency::Background, async move {
            let _held = again;
            std::future::pending::<()>().await;
        });
    }
}

#[test]
fn a_crash_drops_the_tasks_of_its_node_alone() {
    let dropped = Rc::new(Cell::new(0));
    let sim = simulation(6);
    for node in 0..2 {
        let held = Dropped(Some(sim.world(node, 0)), dropped.clone());
        let world = sim.world(node, 0);
        sim.spawn(node, 0, async move {
            let _held = held;
            let _offloaded = world.offload(|| ()).await;
            std::future::pending::<()>().await;
        });
    }
    sim.run_for(Duration::from_micros(1)).unwrap();
    sim.crash(0);
    assert_eq!(dropped.get(), 2, "the task, and what it tried to hand over");
    sim.run_to_rest().unwrap();
    // A task may end its own node: it is dropped after that poll.
    let (control, held) = (sim.control(), Dropped(Some(sim.world(1, 0)), dropped.clone()));
    sim.spawn(1, 1, async move {
        let _held = held;
        control.crash(1);
        std::future::pending::<()>().await;
    });
    sim.run_to_rest().unwrap();
    assert_eq!(dropped.get(), 6);
}

#[test]
fn a_paused_node_stands_still_and_goes_on_where_it_stood() {
    let sim = simulation(1);
    let ticks: Rc<RefCell<Vec<Duration>>> = Rc::default();
    let (world, control, ticking) = (sim.world(1, 0), sim.control(), ticks.clone());
    sim.spawn(1, 0, async move {
        loop {
            world.sleep(Duration::from_millis(10)).await;
            ticking.borrow_mut().push(control.now());
        }
    });
    let ms = Duration::from_millis;
    sim.run_for(ms(35)).unwrap();
    sim.pause(1, true);
    sim.run_for(ms(65)).unwrap();
    assert_eq!(*ticks.borrow(), [ms(10), ms(20), ms(30)]);
    sim.pause(1, false);
    sim.run_for(ms(15)).unwrap();
    assert_eq!(ticks.borrow()[3..], [ms(100), ms(110)], "its clock went on");
    sim.pause(1, true);
    sim.crash(1);
    let (world, control, ticking) = (sim.world(1, 0), sim.control(), ticks.clone());
    sim.spawn(1, 0, async move {
        world.sleep(Duration::from_millis(1)).await;
        ticking.borrow_mut().push(control.now());
    });
    sim.run_for(ms(5)).unwrap();
    assert_eq!(ticks.borrow().last(), Some(&ms(116)), "the next process is not paused");
}

#[test]
fn a_simulation_frees_its_tasks_when_it_is_dropped() {
    let dropped = Rc::new(Cell::new(0));
    let core = {
        let sim = simulation(7);
        let held = Dropped(Some(sim.world(0, 0)), dropped.clone());
        sim.spawn(0, 0, async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        sim.run_to_rest().unwrap();
        Rc::downgrade(&sim.core)
    };
    assert_eq!(dropped.get(), 2);
    assert!(core.upgrade().is_none(), "the simulation is still held");
}

#[test]
fn a_draw_in_one_part_does_not_shift_the_others() {
    let draws = |busy: bool| {
        let sim = simulation(8);
        let world = sim.world(0, 0);
        sim.block_on(0, async {
            if busy {
                let file = world.open(Path::new("/f"), OpenMode::CreateOrKeep).await.unwrap();
                file.sync().await.unwrap();
                let _refused = world.connect("10.0.0.9:1".parse().unwrap()).await;
            }
            [world.random(), world.random()]
        })
    };
    assert_eq!(draws(false), draws(true));
    assert_ne!(simulation(8).world(1, 0).random(), draws(false)[0], "nodes draw from streams of their own");
}

#[test]
#[should_panic(expected = "a task of a simulation must not run it")]
fn a_simulation_is_not_run_from_within() {
    let sim = simulation(9);
    sim.block_on(0, async {
        sim.block_on(0, async {});
    });
}
