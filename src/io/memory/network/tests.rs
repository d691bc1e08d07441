use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::io::memory::{MemoryReader, MemoryWorld, Simulation, SimulationSettings};
use crate::io::{File, Follows, Listener, OpenMode, Reader, World, Writer};

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
        world.spawn(crate::io::Urgency::Foreground, task);
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
        world.spawn(crate::io::Urgency::Foreground, async move {
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
