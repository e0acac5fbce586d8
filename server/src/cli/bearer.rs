//! Finding the token that calls are made with: the one that is given, else the one that
//! the gateway left in its data folder.

use std::{fs, io::ErrorKind, path::Path};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use super::{Exit, Failure};

/// The file in the data folder that holds the first admin token.
const FILE: &str = "admin.token";

/// Sends the token with every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Sends this token, or none.
    pub(super) fn of(token: Option<Token>) -> Result<Self, Failure> {
        Ok(Self(token.as_ref().map(Token::header).transpose()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A token and whence it comes. Not to be printed.
pub(super) struct Token {
    secret: String,
    source: String,
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

    fn header(&self) -> Result<MetadataValue<Ascii>, Failure> {
        let wrong = || {
            let why = "a token is visible ASCII, without spaces and line breaks";
            Failure::new(Exit::Refused, format!("{}: {why}", self.source))
        };
        let visible = self.secret.bytes().all(|c| c.is_ascii_graphic());
        if self.secret.is_empty() || !visible {
            return Err(wrong());
        }
        let value = format!("Bearer {}", self.secret).parse();
        let mut value: MetadataValue<Ascii> = value.map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok(value)
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

    fn sent(token: &Token) -> Result<String, Failure> {
        let header = token.header()?;
        assert!(!format!("{header:?}").contains("s3cret"), "it is sensitive");
        Ok(header.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_token_of_the_data_folder_is_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["mg_1_s3cret_2\n", "mg_1_s3cret_2"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let token = Token::left_in(folder.path()).unwrap().unwrap();
            assert_eq!(sent(&token).unwrap(), "Bearer mg_1_s3cret_2");
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

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        for text in ["", "s3cret\n", "s3 cret", "s3cret\u{e9}", "s3cret\u{7f}"] {
            let failure = sent(&Token::given(text)).unwrap_err();
            assert_eq!(failure.exit, Exit::Refused, "{text:?}");
            assert!(failure.text.starts_with("--token (METAGOV_TOKEN): "));
            assert!(!failure.text.contains("cret"), "{failure}");
        }
    }
}
