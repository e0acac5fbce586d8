//! Answers that are kept, so that what did not change is neither sent nor parsed twice.
//!
//! Nothing is ever answered without asking: the platform is given back the `ETag` and
//! the `Last-Modified` of its last answer, and says 304 if that still holds (RFC 9110,
//! section 13). An answer with neither, or with `no-store`, is not kept. Whoever asks
//! for the same while a request is under way gets that request's answer, fault or not.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};
use url::Url;

use super::super::{Error, Result};

/// The most answers that are kept.
const MAX_PLACES: usize = 128;
/// The most bytes that the bodies of all kept answers had. A parsed answer is usually
/// smaller than its body, since a plugin's type names only what it needs.
const MAX_BYTES: usize = 32 << 20;

/// Parsed answers, of all plugins and installations.
#[derive(Default)]
pub(super) struct Cache {
    shelf: Mutex<Shelf>,
}

/// What an answer depends on: the address, the headers, and the type it is read as. And
/// the plugin: what one may ask, another perhaps may not.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    read_as: TypeId,
    // A digest, since one of the headers is usually secret.
    request: [u8; 32],
}

impl Key {
    pub(super) fn of<T: 'static>(plugin: &str, url: &Url, headers: &HeaderMap) -> Self {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| [name.as_str().as_bytes(), b":", value.as_bytes()].concat())
            .collect();
        lines.sort_unstable();
        // None of them can hold the line break between them.
        let (plugin, url) = (plugin.as_bytes().to_vec(), url.as_str().as_bytes().to_vec());
        let text = [plugin, url, lines.join(&b'\n')].join(&b'\n');
        Self {
            read_as: TypeId::of::<T>(),
            request: Sha256::digest(text).into(),
        }
    }
}

/// How a platform recognises its last answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    /// Those of an answer that may be kept.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let (etag, last_modified) = (
            headers.get(header::ETAG).cloned(),
            headers.get(header::LAST_MODIFIED).cloned(),
        );
        let private = headers
            .get_all(header::CACHE_CONTROL)
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.contains("no-store")));
        let known = etag.is_some() || last_modified.is_some();
        (known && !private).then_some(Self {
            etag,
            last_modified,
        })
    }

    /// The headers that ask whether the last answer still holds.
    pub(super) fn ask(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let etag = self.etag.map(|value| (header::IF_NONE_MATCH, value));
        let time = self
            .last_modified
            .map(|value| (header::IF_MODIFIED_SINCE, value));
        etag.into_iter().chain(time)
    }
}

/// What the platform said when asked whether its last answer still holds.
pub(super) enum Fresh<T> {
    /// It does.
    Unchanged,
    /// It does not, or there was none.
    New {
        /// The answer.
        value: T,
        /// How long its body was.
        bytes: usize,
        /// How to ask for it the next time; `None` if it must not be kept.
        validators: Option<Validators>,
    },
}

impl Cache {
    /// What `ask` brings: called with the validators of the kept answer, if there is one.
    pub(super) async fn read<T, F, Fut>(&self, key: Key, ask: F) -> Result<Arc<T>>
    where
        T: Send + Sync + 'static,
        F: FnOnce(Option<Validators>) -> Fut,
        Fut: Future<Output = Result<Fresh<T>>>,
    {
        let slot = self.lock().slot(&key);
        let seen = slot.rounds.load(Ordering::Acquire);
        // Held while the platform is asked. If the one who asks goes away, the next asks.
        let mut held = slot.held.lock().await;
        let answered = slot.rounds.load(Ordering::Acquire) > seen;
        let answer = match held.last.clone() {
            Some(last) if answered => last,
            _ => {
                let known = held.kept.as_ref().map(|kept| kept.validators.clone());
                let answer = held.learn(ask(known).await);
                held.last = Some(answer.clone());
                slot.rounds.fetch_add(1, Ordering::Release);
                let bytes = held.kept.as_ref().map(|kept| kept.bytes);
                self.lock().put(key, &slot, bytes);
                answer
            }
        };
        let value = answer?.downcast();
        value.map_err(|_| Error::internal("a kept answer is of another type"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = Arc<dyn Any + Send + Sync>;

/// One answer, and those who wait for it.
#[derive(Default)]
struct Slot {
    /// How many requests have ended.
    rounds: AtomicU64,
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What the last request brought, for those who waited for it.
    last: Option<Result<Answer>>,
    kept: Option<Kept>,
}

struct Kept {
    value: Answer,
    validators: Validators,
    bytes: usize,
}

impl Held {
    fn learn<T: Send + Sync + 'static>(&mut self, fresh: Result<Fresh<T>>) -> Result<Answer> {
        match fresh? {
            Fresh::Unchanged => {
                let kept = self.kept.as_ref();
                let kept = kept.ok_or_else(|| Error::internal("unchanged, but nothing is kept"))?;
                Ok(kept.value.clone())
            }
            Fresh::New {
                value,
                bytes,
                validators,
            } => {
                let value: Answer = Arc::new(value);
                self.kept = validators.map(|validators| Kept {
                    value: value.clone(),
                    validators,
                    bytes,
                });
                Ok(value)
            }
        }
    }
}

/// The slots, with what is needed to choose which goes.
#[derive(Default)]
struct Shelf {
    places: HashMap<Key, Place>,
    clock: u64,
}

struct Place {
    slot: Arc<Slot>,
    bytes: usize,
    used: u64,
}

impl Shelf {
    fn slot(&mut self, key: &Key) -> Arc<Slot> {
        let place = self.places.get(key);
        let (slot, bytes) = place.map_or_else(Default::default, |p| (p.slot.clone(), p.bytes));
        self.put(key.clone(), &slot, Some(bytes));
        slot
    }

    /// Puts a slot in front; without bytes it holds nothing that is worth a place.
    fn put(&mut self, key: Key, slot: &Arc<Slot>, bytes: Option<usize>) {
        let Some(bytes) = bytes else {
            self.places.remove(&key);
            return;
        };
        self.clock += 1;
        let (slot, used) = (slot.clone(), self.clock);
        self.places.insert(key, Place { slot, bytes, used });
        while self.places.len() > MAX_PLACES || self.bytes() > MAX_BYTES {
            let oldest = self.places.iter().min_by_key(|(_, place)| place.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.places.remove(&key);
        }
    }

    fn bytes(&self) -> usize {
        self.places.values().map(|place| place.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn key(n: usize) -> Key {
        let url = format!("https://platform.example/{n}").parse().unwrap();
        Key::of::<String>("cred", &url, &HeaderMap::new())
    }

    fn validators(etag: &'static str) -> Option<Validators> {
        Validators::of(&HeaderMap::from_iter([(
            header::ETAG,
            HeaderValue::from_static(etag),
        )]))
    }

    fn new(value: &str, bytes: usize, etag: &'static str) -> Fresh<String> {
        Fresh::New {
            value: value.to_owned(),
            bytes,
            validators: validators(etag),
        }
    }

    #[tokio::test]
    async fn an_unchanged_answer_is_the_very_value_of_before() {
        let cache = Cache::default();
        let first = cache.read(key(1), async |known| {
            assert_eq!(known, None);
            Ok(new("a", 1, "\"1\""))
        });
        let first = first.await.unwrap();
        let again = cache.read(key(1), async |known| {
            assert_eq!(known, validators("\"1\""));
            Ok(Fresh::Unchanged)
        });
        assert!(Arc::ptr_eq(&first, &again.await.unwrap()));
        let changed = cache.read(key(1), async |_| Ok(new("b", 1, "\"2\"")));
        assert_eq!(*changed.await.unwrap(), "b");
        let after = cache.read(key(1), async |known| {
            assert_eq!(known, validators("\"2\""));
            Ok(Fresh::<String>::Unchanged)
        });
        assert_eq!(*after.await.unwrap(), "b");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_for_again_is_not_kept() {
        let cache = Cache::default();
        let unkept = async |known: Option<Validators>| {
            assert_eq!(known, None);
            let (value, bytes, validators) = ("a".to_owned(), 1, None);
            Ok(Fresh::New {
                value,
                bytes,
                validators,
            })
        };
        cache.read(key(1), unkept).await.unwrap();
        assert!(cache.lock().places.is_empty());
        cache.read(key(1), unkept).await.unwrap();

        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, HeaderValue::from_static("\"1\""));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
        assert_eq!(Validators::of(&headers), None);
    }

    #[tokio::test]
    async fn a_fault_takes_nothing_away() {
        let cache = Cache::default();
        let first = cache.read(key(1), async |_| Ok(new("a", 1, "\"1\"")));
        let first = first.await.unwrap();
        let fault = cache.read(key(1), async |_| Err::<Fresh<String>, _>(Error::Draining));
        assert_eq!(fault.await, Err(Error::Draining));
        let again = cache.read(key(1), async |_| Ok(Fresh::Unchanged));
        assert!(Arc::ptr_eq(&first, &again.await.unwrap()));
    }

    #[tokio::test]
    async fn those_who_ask_meanwhile_share_one_request() {
        let (cache, asked) = (Cache::default(), AtomicUsize::new(0));
        let (cache, asked) = (&cache, &asked);
        let one = |answer: Result<&'static str>| async move {
            let ask = async |_| {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(new(answer?, 1, "\"1\""))
            };
            cache.read(key(1), ask).await
        };
        let all = futures::future::join_all((0..9).map(|_| one(Ok("a")))).await;
        assert!(all.iter().all(|a| a.as_ref().is_ok_and(|a| **a == "a")));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let all = futures::future::join_all((0..9).map(|_| one(Err(Error::Draining)))).await;
        assert!(all.iter().all(|a| *a == Err(Error::Draining)));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_next_asks_if_the_one_who_asked_goes_away() {
        let cache = Cache::default();
        let stuck = cache.read(key(1), async |_| {
            std::future::pending::<Result<Fresh<String>>>().await
        });
        let mut stuck = Box::pin(stuck);
        assert!(futures::poll!(&mut stuck).is_pending());
        let next = cache.read(key(1), async |_| Ok(new("a", 1, "\"1\"")));
        let mut next = Box::pin(next);
        assert!(futures::poll!(&mut next).is_pending());
        drop(stuck);
        assert_eq!(*next.await.unwrap(), "a");
    }

    #[tokio::test]
    async fn the_least_recently_used_goes() {
        let cache = Cache::default();
        let read = async |n: usize, bytes: usize| {
            let value = cache.read(key(n), async |_| Ok(new("a", bytes, "\"1\"")));
            value.await.unwrap();
        };
        for n in 0..MAX_PLACES {
            read(n, 1).await;
        }
        read(0, 1).await;
        read(MAX_PLACES, 1).await;
        assert!(cache.lock().places.contains_key(&key(0)));
        assert!(!cache.lock().places.contains_key(&key(1)));
        assert_eq!(cache.lock().places.len(), MAX_PLACES);
        read(1, MAX_BYTES).await;
        assert_eq!(cache.lock().places.len(), 1);
        read(2, MAX_BYTES + 1).await;
        assert!(cache.lock().bytes() <= MAX_BYTES);
    }

    #[test]
    fn plugin_address_headers_and_type_tell_answers_apart() {
        let url: Url = "https://platform.example/".parse().unwrap();
        let with = |token: &'static str| {
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(token))])
        };
        let key = Key::of::<String>("cred", &url, &with("a"));
        assert!(key == Key::of::<String>("cred", &url, &with("a")));
        assert!(key != Key::of::<String>("cred", &url, &with("b")));
        assert!(key != Key::of::<String>("cred", &url.join("x").unwrap(), &with("a")));
        assert!(key != Key::of::<String>("forum", &url, &with("a")));
        assert!(key != Key::of::<u8>("cred", &url, &with("a")));
    }
}
