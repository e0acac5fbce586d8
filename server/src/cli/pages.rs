//! Reading lists, which come in pages.

use tonic::Status;

use super::Failure;

/// The most that a page may have.
pub(super) const LARGEST: usize = 1000;

/// What a list answers: a page, and the token for the next one.
pub(super) type Page<T> = Result<(Vec<T>, String), Status>;

/// Reads how many there may be.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| format!("{text:?} is no number from 1"))
}

/// Reads a list to its end, or as far as `limit`. A page is asked for by its size and
/// its token. `doing` says what is read, if that fails.
pub(super) async fn all<T>(
    doing: &str,
    limit: usize,
    fetch: impl AsyncFnMut(i32, String) -> Page<T>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    let read = each(limit, fetch, |item| items.push(item)).await;
    read.map_err(|status| Failure::answered(doing, &status))?;
    Ok(items)
}

/// The same, for lists that are too long to keep.
pub(super) async fn each<T>(
    limit: usize,
    mut fetch: impl AsyncFnMut(i32, String) -> Page<T>,
    mut take: impl FnMut(T),
) -> Result<(), Status> {
    let (mut left, mut token) = (limit, String::new());
    while left > 0 {
        let size = left.min(LARGEST);
        // It is at most a thousand.
        let page = fetch(i32::try_from(size).unwrap_or_default(), token.clone());
        let (items, next) = page.await?;
        left -= items.len().min(left);
        items.into_iter().take(size).for_each(&mut take);
        if next.is_empty() {
            break;
        }
        if next == token {
            return Err(Status::internal("the same page would come again and again"));
        }
        token = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of numbers, in pages of at most ten.
    async fn count(list: u32, limit: usize) -> (Vec<u32>, Vec<i32>) {
        let mut sizes = Vec::new();
        let items = all("numbers", limit, async |size, token: String| {
            sizes.push(size);
            let from: u32 = token.parse().unwrap_or_default();
            let to = list.min(from + 10.min(size as u32));
            let next = if to < list {
                to.to_string()
            } else {
                String::new()
            };
            Ok(((from..to).collect(), next))
        });
        let items = items.await.unwrap();
        (items, sizes)
    }

    #[tokio::test]
    async fn every_page_is_read() {
        let (items, sizes) = count(25, usize::MAX).await;
        assert_eq!(items, (0..25).collect::<Vec<_>>());
        assert_eq!(sizes, [1000; 3]);
    }

    #[tokio::test]
    async fn a_limit_is_kept() {
        for limit in [0, 1, 9, 10, 11, 25, 26] {
            let (items, sizes) = count(25, limit).await;
            assert_eq!(items.len(), limit.min(25), "{limit}");
            assert_eq!(sizes.first().copied(), (limit > 0).then_some(limit as i32));
        }
    }

    #[tokio::test]
    async fn pages_that_never_end_are_noticed() {
        let again = async |_, _| Ok((vec![1], "again".to_owned()));
        let same = each(usize::MAX, again, drop);
        assert_eq!(same.await.unwrap_err().code(), tonic::Code::Internal);
    }
}
