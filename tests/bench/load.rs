//! Load: callers that call again as soon as they are answered.

use std::time::{Duration, Instant};

use tonic::Status;

/// Calls a second, of so many callers that share the connections.
pub(crate) async fn rate<C, F, Fut>(channels: &[C], callers: usize, round: Duration, call: F) -> f64
where
    C: Clone + Send + 'static,
    F: Fn(C) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Status>> + Send,
{
    let begin = Instant::now();
    let until = begin + round;
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let channel = channels[caller % channels.len()].clone();
            tokio::spawn(async move {
                let mut answered = 0_u64;
                while Instant::now() < until {
                    call(channel.clone()).await.expect("an answer");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("a caller");
    }
    total as f64 / begin.elapsed().as_secs_f64()
}

pub(crate) fn median(figures: &mut [f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The figure that this share of them is not above.
pub(crate) fn quantile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = (figures.len() as f64 * share) as usize;
    figures[at.min(figures.len() - 1)]
}
