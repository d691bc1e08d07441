use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_lite::future::{poll_once, zip};

use crate::io::memory::{MemoryReader, MemoryWorld, MemoryWriter, RunError, Simulation, SimulationSettings};
use crate::io::{Accepted, File, Follows, Listener, OpenMode, Reader, Urgency, World, Writer};

const PORT: u16 = 9092;

async fn read_to_end(reader: &mut MemoryReader) -> (Vec<u8>, std::io::Result<()>) {
    let mut all = BytesMut::new();
    loop {
        all.reserve(1000);
        match reader.read(&mut all).await {
            Ok(0) => return (all.to_vec(), Ok(())),
            Ok(_) => {}
            Err(error) => return (all.to_vec(), Err(error)),
        }
    }
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|index| (index % 251) as u8).collect()
}

/// Accepts connections for ever and sends back what comes in.
async fn echo(world: MemoryWorld) {
    let listener = world.listen(format!("0.0.0.0:{PORT}").parse().unwrap()).await.unwrap();
    loop {
        let mut accepted = listener.accept().await.unwrap();
        let task = async move {
            loop {
                let mut buffer = BytesMut::with_capacity(3000);
                match accepted.reader.read(&mut buffer).await {
                    Ok(len) if len > 0 => {
                        if accepted.writer.write_all(buffer.freeze(), Follows::Nothing).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        };
        world.spawn(Urgency::Foreground, task);
    }
}

#[test]
fn bytes_come_back_in_order_through_a_full_window() {
    let sim = Simulation::new(3, SimulationSettings::default());
    sim.change_network(|network| network.window_bytes = 5000);
    sim.spawn(0, 0, echo(sim.world(0, 0)));
    let world = sim.world(1, 0);
    let address = sim.address(0, PORT);
    let sent = pattern(100_000);
    let returned = sim.block_on(1, async {
        world.sleep(Duration::from_millis(1)).await;
        let (mut reader, mut writer) = world.connect(address).await.unwrap();
        let expected = sent.len();
        let bytes = sent.clone();
        world.spawn(Urgency::Foreground, async move {
            writer.write_all(bytes, Follows::Nothing).await.unwrap();
        });
        let mut all = BytesMut::new();
        while all.len() < expected {
            all.reserve(1000);
            assert!(reader.read(&mut all).await.unwrap() > 0);
        }
        all
    });
    assert_eq!(returned, sent);
    assert!(sim.count("network.writer_waits") > 0, "the window was never full");
}

#[test]
fn a_closed_connection_reads_as_its_bytes_and_an_end() {
    for seed in 0..20 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let server = sim.world(0, 0);
        let address = sim.address(0, PORT);
        sim.spawn(0, 0, async move {
            let listener = server.listen(format!("0.0.0.0:{PORT}").parse().unwrap()).await.unwrap();
            let mut accepted = listener.accept().await.unwrap();
            let file = server.open(Path::new("/f"), OpenMode::CreateOrKeep).await.unwrap();
            file.write_at(0, vec![pattern(50_000)]).await.result.unwrap();
            accepted.writer.write_all(Bytes::from_static(b"head"), Follows::More).await.unwrap();
            accepted.writer.send_file(&file.share(), 1000, 40_000, Follows::Nothing).await.unwrap();
            let past_end = accepted.writer.send_file(&file.share(), 50_000, 1, Follows::Nothing).await;
            assert_eq!(past_end.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        });
        let world = sim.world(1, 0);
        let (bytes, end) = sim.block_on(1, async {
            world.sleep(Duration::from_millis(1)).await;
            let (mut reader, _writer) = world.connect(address).await.unwrap();
            read_to_end(&mut reader).await
        });
        assert!(end.is_ok());
        assert_eq!(&bytes[..4], b"head");
        assert_eq!(bytes[4..], pattern(50_000)[1000..41_000]);
    }
}

type Ends = (Accepted<MemoryReader, MemoryWriter>, (MemoryReader, MemoryWriter));

/// A connection from node 1 to node 0, both ends in the test's hands.
fn connected(sim: &Simulation) -> Ends {
    let (server, client, address) = (sim.world(0, 0), sim.world(1, 0), sim.address(0, PORT));
    let accepted = Rc::new(RefCell::new(None));
    let place = accepted.clone();
    sim.spawn(0, 0, async move {
        let listener = server.listen(format!("0.0.0.0:{PORT}").parse().unwrap()).await.unwrap();
        *place.borrow_mut() = Some(listener.accept().await.unwrap());
    });
    let halves = sim.block_on(1, async {
        client.sleep(Duration::from_nanos(1)).await;
        let halves = client.connect(address).await.unwrap();
        while accepted.borrow().is_none() {
            client.yield_now().await;
        }
        halves
    });
    (accepted.take().unwrap(), halves)
}

#[test]
fn a_crash_resets_and_loses_only_a_tail() {
    let mut lens = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let (mut accepted, (mut reader, mut writer)) = connected(&sim);
        let sent = pattern(40_000);
        sim.block_on(1, accepted.writer.write_all(sent.clone(), Follows::Nothing)).unwrap();
        sim.run_for(Duration::from_micros(100 * seed)).unwrap();
        if seed % 2 == 0 {
            sim.crash(0)
        } else {
            sim.power_loss(0)
        }
        let (bytes, end) = sim.block_on(1, read_to_end(&mut reader));
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(bytes, sent[..bytes.len()]);
        lens.insert(bytes.len());
        let refused = sim.block_on(1, writer.write_all(sent, Follows::Nothing));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let again = sim.block_on(1, sim.world(1, 0).connect(sim.address(0, PORT))).map(drop);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::ConnectionRefused, "nobody listens after a crash");
    }
    assert!(lens.len() > 10, "{lens:?}");
}

#[test]
fn a_cut_is_seen_at_both_ends() {
    for seed in 0..20 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let (mut accepted, (mut reader, _writer)) = connected(&sim);
        sim.cut(1, 0);
        let (client, server) = sim.block_on(1, zip(read_to_end(&mut reader), read_to_end(&mut accepted.reader)));
        assert_eq!(client.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(server.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let sim = Simulation::new(1, SimulationSettings::default());
    sim.change_network(|network| network.cut_one_in = 20);
    let (mut accepted, (mut reader, _writer)) = connected(&sim);
    let end = sim.block_on(1, async {
        let send = async { while accepted.writer.write_all(pattern(1000), Follows::Nothing).await.is_ok() {} };
        zip(send, read_to_end(&mut reader)).await.1.1
    });
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(sim.count("fault.connection_cut") > 0);
}

#[test]
fn a_partition_holds_everything_up_until_it_heals() {
    for seed in 0..20 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let (mut accepted, (mut reader, mut writer)) = connected(&sim);
        sim.block(0, 1, true);
        sim.block_on(1, async {
            accepted.writer.write_all(pattern(3000), Follows::Nothing).await.unwrap();
            writer.write_all(Bytes::from_static(b"the other way"), Follows::Nothing).await.unwrap();
        });
        drop(accepted.writer);
        let mut buffer = BytesMut::with_capacity(100);
        sim.run_for(Duration::from_secs(60)).unwrap();
        sim.block_on(0, async {
            assert!(poll_once(reader.read(&mut buffer)).await.is_none(), "nothing crosses the partition");
            assert!(accepted.reader.read(&mut buffer).await.unwrap() > 0, "the other direction is up");
        });
        drop(accepted.reader);
        sim.block(0, 1, false);
        let (bytes, _) = sim.block_on(1, read_to_end(&mut reader));
        assert_eq!(bytes, pattern(3000));
    }
}

#[test]
fn connecting_is_refused_or_times_out_or_waits_for_the_link() {
    let sim = Simulation::new(2, SimulationSettings::default());
    let world = sim.world(1, 0);
    let connect = |port| sim.try_block_on(1, world.connect(sim.address(0, port))).unwrap().map(drop);
    assert_eq!(connect(1).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    sim.spawn(0, 0, echo(sim.world(0, 0)));
    sim.run_for(Duration::from_millis(1)).unwrap();
    sim.partition(0, 1, true);
    let start = sim.now();
    assert_eq!(connect(PORT).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(sim.now() - start, Duration::from_secs(30));
    let control = sim.control();
    sim.spawn(2, 0, {
        let world = sim.world(2, 0);
        async move {
            world.sleep(Duration::from_secs(10)).await;
            control.partition(0, 1, false);
        }
    });
    connect(PORT).unwrap();
    sim.slow_link(1, 0, Duration::from_secs(5));
    let start = sim.now();
    connect(PORT).unwrap();
    assert!(sim.now() - start >= Duration::from_secs(5));
}

#[test]
fn an_abandoned_attempt_closes_what_it_reached() {
    for seed in 0..20 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let (server, client, address) = (sim.world(0, 0), sim.world(1, 0), sim.address(0, PORT));
        let result = sim.try_block_on(0, async {
            let listener = server.listen(format!("0.0.0.0:{PORT}").parse().unwrap()).await.unwrap();
            let mut attempt = Box::pin(client.connect(address));
            assert!(poll_once(&mut attempt).await.is_none());
            let mut accepted = listener.accept().await.unwrap();
            drop(attempt);
            read_to_end(&mut accepted.reader).await.1.unwrap();
            assert!(accepted.peer.port() > 0);
            // Writing to a peer that is gone succeeds until the peer's answer is here.
            while accepted.writer.write_all(Bytes::from_static(b"anyone?"), Follows::Nothing).await.is_ok() {
                server.sleep(Duration::from_millis(1)).await;
            }
            drop(client.connect(address));
            listener.accept().await.map(drop)
        });
        assert!(matches!(result, Err(RunError::Stalled { .. })), "an attempt that was never polled reaches nobody");
    }
}

#[test]
fn shards_share_an_address_and_port_zero_picks_one() {
    let sim = Simulation::new(4, SimulationSettings::default());
    let accepted = Rc::new(RefCell::new([0; 3]));
    for shard in 0..3u16 {
        let (world, accepted) = (sim.world(0, shard), accepted.clone());
        sim.spawn(0, shard, async move {
            let listener = world.listen(format!("0.0.0.0:{PORT}").parse().unwrap()).await.unwrap();
            loop {
                listener.accept().await.unwrap();
                accepted.borrow_mut()[usize::from(shard)] += 1;
            }
        });
    }
    sim.run_for(Duration::from_millis(1)).unwrap();
    let world = sim.world(1, 0);
    sim.block_on(1, async {
        for _ in 0..60 {
            drop(world.connect(sim.address(0, PORT)).await.unwrap());
        }
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (first, second) = (world.listen(any).await.unwrap(), world.listen(any).await.unwrap());
        assert_ne!(first.local_addr(), second.local_addr());
        assert_ne!(first.local_addr().port(), 0);
        let taken = sim.world(2, 0).listen(first.local_addr()).await.map(drop);
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
        let (_, reached) = zip(first.accept(), world.connect(first.local_addr())).await;
        reached.unwrap();
    });
    sim.run_for(Duration::from_secs(1)).unwrap();
    let accepted = accepted.borrow();
    assert_eq!(accepted.iter().sum::<i32>(), 60);
    assert!(accepted.iter().all(|&count| count > 5), "{accepted:?}");
}

#[test]
fn bytes_overwritten_in_place_are_seen_by_the_reader() {
    let mut torn = 0;
    for seed in 0..40 {
        let sim = Simulation::new(seed, SimulationSettings::default());
        let (mut accepted, (mut reader, _writer)) = connected(&sim);
        let world = sim.world(0, 0);
        let file = sim.block_on(0, async {
            let file = world.open(Path::new("/f"), OpenMode::CreateOrKeep).await.unwrap();
            file.write_at(0, vec![Bytes::from(vec![1; 60_000])]).await.result.unwrap();
            file
        });
        let shared = file.share();
        let (bytes, end) = sim.block_on(1, async {
            let send = async {
                accepted.writer.send_file(&shared, 0, 60_000, Follows::Nothing).await.unwrap();
                file.write_at(0, vec![Bytes::from(vec![2; 60_000])]).await.result.unwrap();
                accepted.writer.close();
            };
            zip(send, read_to_end(&mut reader)).await.1
        });
        assert!(end.is_ok());
        assert_eq!(bytes.len(), 60_000);
        torn += u64::from(bytes.contains(&2));
    }
    assert!(torn > 3, "the overwriting was seen {torn} times");
}
