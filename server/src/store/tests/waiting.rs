//! Deliveries that wait.

use super::*;
use crate::model::{Delivery, DeliveryId, DeliveryState, Hook};

/// Ten starts within seconds would else use up the ten tries of one that fails.
#[tokio::test]
async fn a_start_hurries_what_waits_for_it_and_nothing_that_has_failed() {
    for place in places().await {
        let store = open(&place).await;
        let installation_id = InstallationId(uuid::Uuid::new_v4());
        let [waits, failed] = [0, 1].map(|attempt_count| Delivery {
            id: DeliveryId::new(),
            installation_id,
            state: DeliveryState::Pending,
            receive_time: store.now(),
            attempt_count,
            next_attempt_time: Some(store.now().after(Duration::from_secs(60))),
            problem: String::new(),
        });
        let kept = [waits.clone(), failed.clone()];
        let hurried = store.write(async move |tx| {
            for delivery in &kept {
                deliveries::insert(tx, delivery, None, Some(&Hook::default())).await?;
            }
            deliveries::hurry(tx, installation_id).await
        });
        hurried.await.unwrap();
        let next = async |id| {
            let (delivery, _) = deliveries::find(&store, id).await.unwrap();
            delivery.next_attempt_time
        };
        assert!(next(waits.id).await < waits.next_attempt_time);
        assert_eq!(next(failed.id).await, failed.next_attempt_time);
    }
}
