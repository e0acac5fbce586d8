//! Finding the token that calls are made with: the one that is given, else the one that
//! the gateway left in its data folder.

use std::{fs, io::ErrorKind, path::Path};

use super::{Exit, Failure};

/// The file in the data folder that holds the first admin token.
const FILE: &str = "admin.token";

/// A token and whence it comes. Not to be printed.
pub(super) struct Token {
    pub(super) secret: String,
    /// What the caller knows it by: a flag or a file.
    pub(super) source: String,
}

impl Token {
    /// The one of the command line.
    pub(super) fn given(secret: &str) -> Self {
        let (secret, source) = (secret.to_owned(), "--token (METAGOV_TOKEN)".to_owned());
        Self { secret, source }
    }

    /// The one that a gateway left in this folder, if it did.
    pub(super) fn left_in(folder: &Path) -> Result<Option<Self>, Failure> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(unreadable(&file, &e)),
        };
        let secret = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        let source = file.display().to_string();
        Ok(Some(Self { secret, source }))
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    let why = format!(
        "{}: {error}; run it as the gateway's user, or give a token as METAGOV_TOKEN",
        file.display()
    );
    Failure::new(Exit::Refused, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_the_data_folder_is_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["mg_1_s3cret_2\n", "mg_1_s3cret_2"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let token = Token::left_in(folder.path()).unwrap().unwrap();
            assert_eq!(token.secret, "mg_1_s3cret_2");
        }
    }

    #[test]
    fn no_folder_and_no_file_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Token::left_in(folder.path()).unwrap().is_none());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Token::left_in(&file).unwrap().is_none());
        assert!(Token::left_in(Path::new("no/such")).unwrap().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FILE)).unwrap();
        let failure = Token::left_in(folder.path()).err().unwrap();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.text.contains("admin.token: "), "{failure}");
        assert!(failure.text.contains("METAGOV_TOKEN"), "{failure}");
    }
}
