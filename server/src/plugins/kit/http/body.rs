//! The body of an answer, read with limits.
//!
//! Nothing that a platform sends makes the gateway hold more than the largest answer:
//! the size is counted while it comes, after decompression, and so is how many times
//! its size a compressed answer has. That is why it is decompressed here: a client that
//! does it by itself hides how much really came.

use std::{
    fmt,
    io::{self, Write},
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};

/// So much may come of any compressed answer before its ratio is looked at: where it
/// begins, a ratio says little.
const RATIO_FROM: u64 = 64 << 10;

/// How much of an answer is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes, after decompression.
    pub(super) size: usize,
    /// How many times its size a compressed answer may have.
    pub(super) ratio: u32,
}

/// Why a body is of no use.
#[derive(Debug)]
pub(super) enum Bad {
    /// The connection broke, or it took too long.
    Broken(reqwest::Error),
    TooLarge(usize),
    TooDense(u32),
    Damaged,
    /// Compressed as nobody asked for.
    Unknown,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => f.write_str(&super::fault(error)),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
            Self::TooDense(ratio) => {
                write!(
                    f,
                    "the answer is compressed to less than 1/{ratio} of its size"
                )
            }
            Self::Damaged => f.write_str("the answer's compression is damaged"),
            Self::Unknown => {
                f.write_str("the answer is compressed in a way that was not asked for")
            }
        }
    }
}

impl std::error::Error for Bad {}

/// Reads a body; `came` counts what comes.
pub(super) async fn read(
    reply: &mut reqwest::Response,
    limits: Limits,
    came: &mut u64,
) -> Result<Bytes, Bad> {
    let mut body = Body::of(reply.headers(), limits)?;
    if reply
        .content_length()
        .is_some_and(|length| length > limits.size as u64)
    {
        return Err(Bad::TooLarge(limits.size));
    }
    while let Some(chunk) = reply.chunk().await.map_err(Bad::Broken)? {
        *came += chunk.len() as u64;
        body.put(&chunk)?;
    }
    body.end()
}

/// The same of pieces that are here already.
pub(super) fn of_pieces<'a>(
    headers: &HeaderMap,
    limits: Limits,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Bytes, Bad> {
    let mut body = Body::of(headers, limits)?;
    for piece in pieces {
        body.put(piece)?;
    }
    body.end()
}

enum Body {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Body {
    fn of(headers: &HeaderMap, limits: Limits) -> Result<Self, Bad> {
        let bounded = Bounded::new(limits);
        let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
        let encoding = encodings.next().map_or(&b"identity"[..], |e| e.as_bytes());
        if encodings.next().is_some() {
            return Err(Bad::Unknown);
        }
        match encoding.to_ascii_lowercase().trim_ascii() {
            b"" | b"identity" => Ok(Self::Plain(bounded)),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(bounded)))),
            _ => Err(Bad::Unknown),
        }
    }

    fn put(&mut self, chunk: &[u8]) -> Result<(), Bad> {
        match self {
            Self::Plain(bounded) => bounded.write_all(chunk),
            Self::Gzip(decoder) => {
                decoder.get_mut().came += chunk.len() as u64;
                decoder.write_all(chunk)
            }
        }
        .map_err(bad)
    }

    fn end(self) -> Result<Bytes, Bad> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes.into()),
            // Nothing, as after HEAD or with 304, is not compressed, whatever is said.
            Self::Gzip(decoder) if decoder.get_ref().came == 0 => Ok(Bytes::new()),
            Self::Gzip(decoder) => {
                let bounded = decoder.finish().map_err(bad)?;
                match bounded.is_dense() {
                    true => Err(Bad::TooDense(bounded.limits.ratio)),
                    false => Ok(bounded.bytes.into()),
                }
            }
        }
    }
}

/// What came so far.
struct Bounded {
    bytes: Vec<u8>,
    limits: Limits,
    /// How much came before decompression; 0 if it is not compressed.
    came: u64,
}

impl Bounded {
    fn new(limits: Limits) -> Self {
        let (bytes, came) = (Vec::new(), 0);
        Self {
            bytes,
            limits,
            came,
        }
    }

    fn is_dense(&self) -> bool {
        self.came > 0 && self.bytes.len() as u64 > self.came * u64::from(self.limits.ratio)
    }
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > self.limits.size {
            return Err(io::Error::other(Bad::TooLarge(self.limits.size)));
        }
        self.bytes.extend_from_slice(part);
        if self.bytes.len() as u64 > RATIO_FROM && self.is_dense() {
            return Err(io::Error::other(Bad::TooDense(self.limits.ratio)));
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bad(error: io::Error) -> Bad {
    error.downcast::<Bad>().unwrap_or(Bad::Damaged)
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;

    use super::*;

    const LIMITS: Limits = Limits {
        size: 1 << 20,
        ratio: 100,
    };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What does not compress well.
    fn noise(length: usize) -> Vec<u8> {
        let mut seed = 1_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// The body that comes in chunks; what went wrong, in words.
    fn of(encodings: &[&'static str], chunks: &[&[u8]]) -> Result<Vec<u8>, String> {
        let name = header::CONTENT_ENCODING;
        let mut headers = HeaderMap::new();
        for encoding in encodings {
            headers.append(&name, HeaderValue::from_static(encoding));
        }
        let read = || {
            let mut body = Body::of(&headers, LIMITS)?;
            for chunk in chunks {
                body.put(chunk)?;
            }
            body.end()
        };
        read().map(Vec::from).map_err(|bad: Bad| bad.to_string())
    }

    #[test]
    fn an_answer_is_read_as_it_was_meant() {
        let text = noise(200_000);
        assert_eq!(of(&[], &[&text]), Ok(text.clone()));
        assert_eq!(of(&["identity"], &[b"a", b"b"]), Ok(b"ab".to_vec()));
        let packed = gzip(&text);
        for encoding in ["gzip", "GZIP", " x-gzip "] {
            assert_eq!(of(&[encoding], &[&packed]), Ok(text.clone()), "{encoding}");
        }
        let bytes: Vec<&[u8]> = packed.chunks(1).collect();
        assert_eq!(of(&["gzip"], &bytes), Ok(text.clone()));
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(of(&["gzip"], &[&two]), Ok(b"one two".to_vec()));
        assert_eq!(of(&["gzip"], &[]), Ok(vec![]));
        assert_eq!(of(&["gzip"], &[&gzip(b"")]), Ok(vec![]));
    }

    #[test]
    fn an_answer_has_a_largest_size_compressed_or_not() {
        let (most, more) = (noise(LIMITS.size), noise(LIMITS.size + 1));
        assert!(of(&[], &[&most]).is_ok());
        assert!(of(&["gzip"], &[&gzip(&most)]).is_ok());
        let why = Err("the answer is larger than 1048576 bytes".to_owned());
        assert_eq!(of(&[], &[&more]), why);
        assert_eq!(of(&["gzip"], &[&gzip(&more)]), why);
    }

    #[test]
    fn an_answer_may_be_compressed_so_much_and_no_more() {
        let why = Err("the answer is compressed to less than 1/100 of its size".to_owned());
        for length in [20_000, 100_000, 1 << 20] {
            let bomb = gzip(&vec![b' '; length]);
            assert!(length / bomb.len() > 100, "{length}");
            assert_eq!(of(&["gzip"], &[&bomb]), why, "{length}");
        }
    }

    #[test]
    fn a_bomb_is_cut_off_before_it_is_inflated() {
        let bomb = gzip(&vec![0; 8 << 20]);
        let headers =
            HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        let mut body = Body::of(&headers, LIMITS).unwrap();
        assert!(body.put(&bomb).is_err());
        let Body::Gzip(decoder) = body else {
            panic!("it is gzip")
        };
        assert!(decoder.get_ref().bytes.capacity() <= 2 * LIMITS.size);
    }

    #[test]
    fn damaged_and_unknown_compression_is_refused() {
        let damaged = Err("the answer's compression is damaged".to_owned());
        let packed = gzip(b"hello, hello, hello");
        for bad in [
            b"{}".to_vec(),
            packed[..packed.len() - 1].to_vec(),
            packed[..12].to_vec(),
            [&packed[..], b"tail"].concat(),
        ] {
            assert_eq!(of(&["gzip"], &[&bad]), damaged, "{bad:?}");
        }
        let unknown = Err("the answer is compressed in a way that was not asked for".to_owned());
        for encodings in [
            &["br"][..],
            &["deflate"],
            &["gzip, gzip"],
            &["gzip", "gzip"],
            &["zstd"],
        ] {
            assert_eq!(of(encodings, &[b"{}"]), unknown, "{encodings:?}");
        }
    }
}
