use super::*;
use std::path::PathBuf;

fn text(value: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(value.as_bytes())]
}

#[test]
fn a_file_is_written_and_read() {
    run(1, |world| async move {
        let path = PathBuf::from("/log/topic-0/file");
        world.create_dir_all(Path::new("/log/topic-0")).await.unwrap();
        let file = world.open(&path, OpenMode::CreateOrKeep).await.unwrap();
        file.write_at(0, text("hello")).await.result.unwrap();
        file.write_at(5000, text("world")).await.result.unwrap();
        assert_eq!(file.len().await.unwrap(), 5005);
        assert_eq!(file.read_at(4998, 100).await.unwrap(), b"\0\0world");
        assert_eq!(&world.read_file(&path).await.unwrap()[..5], b"hello");
    });
}
