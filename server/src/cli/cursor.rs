//! A file that holds a place in the feed.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::PathBuf,
};

use super::{Exit, Failure};

/// A file with one cursor. It is replaced as a whole: whatever happens, it holds a place
/// that was reached.
pub(super) struct CursorFile(PathBuf);

impl CursorFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The place, if the file is there.
    pub(super) fn read(&self) -> Result<Option<String>, Failure> {
        match fs::read_to_string(&self.0) {
            Ok(text) if text.trim().is_empty() => Err(self.refused("it is empty")),
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Keeps another place.
    pub(super) fn write(&self, cursor: &str) -> Result<(), Failure> {
        self.replace(cursor).map_err(|e| self.refused(e))
    }

    fn replace(&self, cursor: &str) -> std::io::Result<()> {
        // In the same folder, or it could not be renamed.
        let mut name = self.0.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = File::create(&new)?;
        writeln!(file, "{cursor}")?;
        file.sync_all()?;
        fs::rename(&new, &self.0)
    }

    fn refused(&self, why: impl std::fmt::Display) -> Failure {
        let why = format!("--cursor-file: {}: {why}", self.0.display());
        Failure::new(Exit::Refused, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = CursorFile::new(folder.path().join("cursor"));
        assert_eq!(file.read(), Ok(None));
        for cursor in ["first", "second"] {
            file.write(cursor).unwrap();
            assert_eq!(file.read().unwrap().as_deref(), Some(cursor));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = CursorFile::new(folder.path().join("no/such/cursor"));
        let failure = file.write("first").unwrap_err();
        assert!(failure.text.starts_with("--cursor-file: "), "{failure}");
        let empty = folder.path().join("empty");
        fs::write(&empty, "\n").unwrap();
        let failure = CursorFile::new(empty).read().unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
    }
}
