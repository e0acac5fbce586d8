//! Makes the server traits once more, over the messages of `metagov-proto`: a page of
//! events is a type of our own there, whose events are encoded once for all readers.

use std::{env, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../proto");
    let folder = proto.join("metagov/v1");
    println!("cargo:rerun-if-changed={}", folder.display());

    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "proto"));
    files.sort();

    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".metagov.v1", "::metagov_proto::v1")
        .extern_path(
            ".metagov.v1.WatchEventsResponse",
            "crate::rpc::page::EventsPage",
        )
        .extern_path(
            ".metagov.v1.ListEventsResponse",
            "crate::rpc::page::EventsPage",
        )
        .compile_fds(protox::compile(&files, [&proto])?)?;
    Ok(())
}
