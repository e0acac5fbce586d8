//! What a release left in a Postgres: the statements that make it again, by pg_dump.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::harness::Home;

/// Keeps the database of a home as it is at one moment, also while it is served.
pub(super) fn save(home: &Home, file: &Path) {
    let url = home.database_url().expect("it is on Postgres");
    let dumped = Command::new(program())
        .args([
            "--inserts",
            "--no-owner",
            "--no-privileges",
            "--dbname",
            url,
        ])
        .output()
        .unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    let mut packed = GzEncoder::new(std::fs::File::create(file).unwrap(), Compression::best());
    std::io::copy(&mut dumped.stdout.as_slice(), &mut packed).unwrap();
    packed.finish().unwrap();
}

/// Makes it again in the empty database of a home.
pub(super) async fn load(home: &Home, file: &Path) {
    let mut dump = String::new();
    let packed = std::fs::File::open(file).unwrap();
    GzDecoder::new(packed).read_to_string(&mut dump).unwrap();
    // What begins so is for psql, not for the server.
    let statements = dump.lines().filter(|line| !line.starts_with('\\'));
    home.run(&statements.collect::<Vec<_>>().join("\n")).await;
}

/// Of the newest version that Debian has installed, or else the one in the path.
fn program() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let programs = versions.map(|version| version.unwrap().path().join("bin/pg_dump"));
    let newest = programs.filter(|program| program.exists()).max();
    newest.unwrap_or_else(|| "pg_dump".into())
}
