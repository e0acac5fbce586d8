//! The file: lines of JSON, compressed with gzip.
//!
//! ```text
//! {"format":"metagov-backup","version":1,"metagov":"0.1.0","migrations":[…],…}   the header
//! {"table":"event","columns":[{"name":"position","type":"big_integer"},…]}        a table
//! [1,"0190…",…]                                                                   its rows
//! {"rows":{"event":1,…},"sha256":"…"}                                             the end
//! ```
//!
//! It describes itself: what reads it need not have the tables of then. The sum is of all
//! the lines before its own. Whatever is cut off, changed or added is noticed.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use sea_orm::JsonValue;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{BackupError, Counts, tables::Column};

const FORMAT: &str = "metagov-backup";
const VERSION: u32 = 1;
/// The longest line that is read: a row is shorter by far, and a file that expands to
/// more does not fill the memory.
const MAX_LINE: u64 = 256 << 20;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The version of the gateway that wrote it.
    pub(super) metagov: String,
    pub(super) create_time: String,
    /// The steps that its tables have gone through, in order.
    pub(super) migrations: Vec<String>,
    /// The fingerprint of the key that its secrets are sealed with.
    pub(super) master_key: String,
    /// The position of the last event.
    pub(super) position: i64,
}

impl Header {
    pub(super) fn new(migrations: Vec<String>, master_key: String, position: i64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            metagov: env!("CARGO_PKG_VERSION").to_owned(),
            create_time: crate::model::Time::now().rfc3339(),
            migrations,
            master_key,
            position,
        }
    }
}

/// The line before the rows of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) table: String,
    pub(super) columns: Vec<Column>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct End {
    rows: serde_json::Map<String, JsonValue>,
    sha256: String,
}

/// Writes a file from its first line to its last.
pub(super) struct Writer<W: Write> {
    gzip: GzEncoder<W>,
    sum: Sha256,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(output: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            gzip: GzEncoder::new(output, Compression::default()),
            sum: Sha256::new(),
            counts: Counts::default(),
        };
        writer.line(header)?;
        Ok(writer)
    }

    pub(super) fn section(&mut self, section: &Section) -> io::Result<()> {
        self.counts.0.push((section.table.clone(), 0));
        self.line(section)
    }

    /// A row of the section that was begun last. How many there are.
    pub(super) fn row(&mut self, row: &[JsonValue]) -> io::Result<u64> {
        self.line(row)?;
        Ok(self.counts.count())
    }

    /// The last line. Nothing is in the file for sure before this.
    pub(super) fn end(mut self) -> io::Result<Counts> {
        let end = End {
            rows: self.counts.as_json(),
            sha256: hex::encode(self.sum.clone().finalize()),
        };
        self.line(&end)?;
        self.gzip.finish()?.flush()?;
        Ok(self.counts)
    }

    fn line(&mut self, line: &(impl Serialize + ?Sized)) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sum.update(&text);
        self.gzip.write_all(&text)
    }
}

/// What comes next in a file.
pub(super) enum Piece {
    Section(Section),
    /// A row of the section that came last.
    Row(Vec<JsonValue>),
    /// The file was whole.
    End(Counts),
}

/// Reads a file from its first line to its last, and trusts nothing of it.
pub(super) struct Reader<R: Read> {
    lines: BufReader<GzDecoder<BufReader<R>>>,
    sum: Sha256,
    counts: Counts,
    number: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn begin(input: R) -> Result<(Header, Self), BackupError> {
        let mut reader = Self {
            lines: BufReader::with_capacity(1 << 16, GzDecoder::new(BufReader::new(input))),
            sum: Sha256::new(),
            counts: Counts::default(),
            number: 0,
        };
        let line = reader.line()?;
        let header: Header = known(&line).ok_or_else(no_backup)?;
        if header.format != FORMAT {
            return Err(no_backup());
        }
        if header.version != VERSION {
            let (found, metagov) = (header.version, header.metagov);
            return Err(BackupError::File(format!(
                "is of version {found} of the format, written by metagov {metagov}; this one reads version {VERSION}"
            )));
        }
        reader.sum.update(&line);
        Ok((header, reader))
    }

    pub(super) fn next(&mut self) -> Result<Piece, BackupError> {
        let line = self.line()?;
        if line.first() == Some(&b'[') && !self.counts.0.is_empty() {
            let row = known(&line).ok_or_else(|| self.damaged())?;
            self.sum.update(&line);
            self.counts.count();
            return Ok(Piece::Row(row));
        }
        if let Some(section) = known::<Section>(&line) {
            self.sum.update(&line);
            self.counts.0.push((section.table.clone(), 0));
            return Ok(Piece::Section(section));
        }
        let end: End = known(&line).ok_or_else(|| self.damaged())?;
        self.check(&end)?;
        Ok(Piece::End(std::mem::take(&mut self.counts)))
    }

    /// Reads it to its end, for nothing but whether it is whole.
    pub(super) fn verify(mut self) -> Result<(), BackupError> {
        while !matches!(self.next()?, Piece::End(_)) {}
        Ok(())
    }

    /// The number of the line that was read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn check(&mut self, end: &End) -> Result<(), BackupError> {
        let sum = hex::encode(self.sum.clone().finalize());
        if end.sha256 != sum || end.rows != self.counts.as_json() {
            let why = "is damaged: its rows are not those that were written";
            return Err(BackupError::File(why.to_owned()));
        }
        // Also has gzip compare its own sum, which covers the last line.
        let more = self.lines.fill_buf().map_err(|error| unread(&error))?;
        let none = more.is_empty();
        let after = self.lines.get_mut().get_mut().fill_buf()?;
        if !none || !after.is_empty() {
            let why = "is damaged: there is more after its end";
            return Err(BackupError::File(why.to_owned()));
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.lines).take(MAX_LINE);
        let read = bounded.read_until(b'\n', &mut line);
        self.number += 1;
        match (read, line.last()) {
            (Ok(_), Some(b'\n')) => Ok(line),
            (Ok(_), Some(_)) if line.len() as u64 == MAX_LINE => Err(self.damaged()),
            (Ok(_), _) => Err(cut_off()),
            (Err(error), _) => Err(unread(&error)),
        }
    }

    fn damaged(&self) -> BackupError {
        BackupError::File(format!("is damaged: its line {} has no sense", self.number))
    }
}

impl Counts {
    /// One more row of the last table.
    fn count(&mut self) -> u64 {
        self.0.last_mut().map_or(0, |(_, rows)| {
            *rows += 1;
            *rows
        })
    }

    fn as_json(&self) -> serde_json::Map<String, JsonValue> {
        let each = self.0.iter();
        each.map(|(table, rows)| (table.clone(), (*rows).into()))
            .collect()
    }
}

fn known<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

fn no_backup() -> BackupError {
    BackupError::File("is no backup of metagov".to_owned())
}

fn cut_off() -> BackupError {
    BackupError::File("is cut off: its end is missing".to_owned())
}

fn unread(error: &io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_off(),
        // What gzip says of its header, and of what follows.
        io::ErrorKind::InvalidInput if error.to_string().contains("header") => no_backup(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            BackupError::File(format!("is damaged: {error}"))
        }
        _ => BackupError::File(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tables::Kind, *};

    fn section(table: &str) -> Section {
        let (name, kind) = ("id".to_owned(), Kind::Text);
        Section {
            table: table.to_owned(),
            columns: vec![Column { name, kind }],
        }
    }

    fn file() -> Vec<u8> {
        let header = Header::new(vec!["m0001".to_owned()], "ab".to_owned(), 3);
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &header).unwrap();
        for table in ["one", "two"] {
            writer.section(&section(table)).unwrap();
            for row in 0..20 {
                writer.row(&[json!(format!("{table}{row}"))]).unwrap();
            }
        }
        writer.end().unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<String, String> {
        let said = |error| match error {
            BackupError::File(why) => why,
            other => panic!("{other:?}"),
        };
        let (_, mut reader) = Reader::begin(bytes).map_err(said)?;
        loop {
            if let Piece::End(counts) = reader.next().map_err(said)? {
                return Ok(counts.to_string());
            }
        }
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&file()).unwrap(), "40 rows (one 20, two 20)");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (good, mut noticed) = (file(), 0);
        for at in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            // Some of gzip's head, and what fills its last byte up, say nothing that is read.
            match read(&bad) {
                Ok(said) => assert_eq!(said, read(&good).unwrap(), "bit {at}"),
                Err(_) => noticed += 1,
            }
        }
        assert!(noticed >= 8 * (good.len() - 11), "{noticed}");
    }

    #[test]
    fn whatever_is_cut_off_or_added_is_noticed() {
        let good = file();
        for length in 1..good.len() {
            let said = read(&good[..length]).unwrap_err();
            assert_eq!(said, "is cut off: its end is missing", "{length}");
        }
        for more in [&b"\n"[..], &good] {
            let said = read(&[&good[..], more].concat()).unwrap_err();
            assert!(said.contains("more after its end"), "{said}");
        }
    }

    #[test]
    fn what_was_packed_anew_without_a_line_is_noticed() {
        let text = unpacked(&file());
        for skipped in 1..text.lines().count() {
            let lines = text.lines().enumerate();
            let kept = lines.filter(|(number, _)| *number != skipped);
            let kept: String = kept.map(|(_, line)| format!("{line}\n")).collect();
            assert!(read(&packed(kept.as_bytes())).is_err(), "{skipped}");
        }
        let changed = text.replace("one7", "one8");
        let said = read(&packed(changed.as_bytes())).unwrap_err();
        assert!(said.contains("not those that were written"), "{said}");
    }

    #[test]
    fn what_is_no_backup_is_said_to_be_none() {
        for (bytes, says) in [
            (b"something else, and more of it".to_vec(), "is no backup"),
            (packed(b"{\"format\":\"another\"}\n"), "is no backup"),
            (packed(b"one line\n"), "is no backup"),
            (vec![], "is cut off"),
            (
                packed(
                    unpacked(&file())
                        .replace(r#""version":1"#, r#""version":2"#)
                        .as_bytes(),
                ),
                "this one reads version 1",
            ),
        ] {
            let said = read(&bytes).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn what_expands_without_end_is_not_read_to_it() {
        let header = unpacked(&file());
        let (header, _) = header.split_once('\n').unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        writeln!(gzip, "{header}").unwrap();
        let zeros = vec![b'0'; 1 << 20];
        for _ in 0..300 {
            gzip.write_all(&zeros).unwrap();
        }
        let bomb = gzip.finish().unwrap();
        assert!(bomb.len() < 2 << 20, "{}", bomb.len());
        assert_eq!(
            read(&bomb).unwrap_err(),
            "is damaged: its line 2 has no sense"
        );
    }
}
