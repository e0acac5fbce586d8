//! The data folder: its files are for its owner only.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
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

/// A file that is being written beside the place that it is for, for its owner only. It
/// gets there whole and on disk, or not at all.
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
    force: bool,
}

impl Draft {
    /// Nothing may be in its place, unless it is forced.
    pub(crate) fn begin(target: &Path, force: bool) -> io::Result<Self> {
        free(target, force)?;
        let mut path = target.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path)?;
        let busy = |_| io::Error::other(format!("somebody else writes {}", path.display()));
        file.try_lock().map_err(busy)?;
        // One that was left behind may hold something, and have other rights.
        file.set_len(0)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let target = target.to_owned();
        Ok(Self {
            file,
            path,
            target,
            force,
        })
    }

    /// What it is written to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// It is whole: puts it into its place.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        free(&self.target, self.force)?;
        fs::rename(&self.path, &self.target)?;
        sync(&self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // In its place it has another name, and this removes nothing.
        _ = fs::remove_file(&self.path);
    }
}

fn free(target: &Path, force: bool) -> io::Result<()> {
    match !force && target.exists() {
        true => Err(io::Error::other(
            "is there already; name another file, or say --force",
        )),
        false => Ok(()),
    }
}

/// Makes sure that a new name of a file is on disk.
pub(crate) fn sync(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
