//! The data folder: its files are for its owner only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes a folder that only its owner may read, if it is missing.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Writes a file that only its owner may read: whole and on disk, or not at all.
pub(crate) fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    make_private(folder)?;
    let draft = file.with_extension("new");
    // One that was left behind may have other rights.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&draft, file)?;
    sync(file)
}

/// Makes sure that a new name of a file is on disk.
pub(crate) fn sync(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
