//! Hooks: what platforms deliver. A platform is told 2xx only after the commit.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Gateway, after::After, replica::Under, signals};
use crate::{
    error::{Error, Result, Thing},
    model::{
        CommunityId, Delivery, DeliveryId, DeliveryState, Hook, HookReply, Installation,
        InstallationId, JsonLimits, Time,
    },
    plugins::kit::{Received, Repeat, Routed},
    proof::{Bug, is, is_poison},
    store::{ALL, communities, deliveries, installations},
};

impl Gateway {
    /// A hook of one community. Without the secret slug it is taken only by a plugin
    /// that verifies signatures. What is wrong with an address is not said.
    pub async fn receive(
        self: &Arc<Self>,
        community_id: &CommunityId,
        plugin: &str,
        slug: Option<&str>,
        hook: Hook,
    ) -> Result<HookReply> {
        let hook = self.stamped(hook, self.store.now());
        let unknown = || Error::NotFound(Thing::Webhook);
        let verifies = self.plugin(plugin).map_err(|_| unknown())?.verifies;
        if slug.is_none() && !verifies {
            return Err(unknown());
        }
        let wanted = installations::Wanted {
            plugin: Some(plugin.to_owned()),
            ..installations::Wanted::of(community_id)
        };
        let found = installations::list(&self.store, &wanted, ALL).await;
        let mut found = found.map_err(unavailable)?;
        if let Some(slug) = slug {
            let now = self.store.now();
            found.retain(|installation| knows_slug(installation, slug, now));
        }
        if found.is_empty() {
            return Err(unknown());
        }
        let received = self.receive_first(&found, &hook).await;
        if let Err(Error::Unsigned(why)) = &received {
            self.refusals.note(plugin, community_id.as_str(), why);
        }
        received
    }

    /// The platform-wide hook of a plugin, which says itself where it goes.
    pub async fn route(self: &Arc<Self>, plugin: &str, hook: Hook) -> Result<HookReply> {
        let hook = self.stamped(hook, self.store.now());
        let unknown = || Error::NotFound(Thing::Webhook);
        let known = self.plugin(plugin).map_err(|_| unknown())?;
        let route = known.route.as_ref().ok_or_else(unknown)?;
        let operator = self.settings.of_plugin(plugin);
        let routed = route((operator, hook.clone()));
        if let Err(Error::Unsigned(why)) = &routed {
            self.refusals.note(plugin, "", why);
        }
        let routed = routed.map_err(|error| self.masked_for_operator(plugin, error))?;
        let platform_id = match routed {
            Routed::Reply(reply) => return Ok(reply),
            Routed::Nothing => return Ok(HookReply::ok()),
            Routed::To(platform_id) => platform_id,
        };
        let wanted = installations::Wanted {
            plugin: Some(plugin.to_owned()),
            platform_id: Some(platform_id),
            ..installations::Wanted::default()
        };
        let mut reply = HookReply::ok();
        let found = installations::list(&self.store, &wanted, ALL).await;
        for installation in found.map_err(unavailable)? {
            let received = self.read_hook(&installation, hook.clone()).await?;
            let said = self.take(&installation, &hook, received).await?;
            if !said.body.is_empty() {
                reply = said;
            }
        }
        Ok(reply)
    }

    /// The first installation whose plugin says that the signature holds.
    async fn receive_first(
        self: &Arc<Self>,
        found: &[Installation],
        hook: &Hook,
    ) -> Result<HookReply> {
        let mut refused = Error::NotFound(Thing::Webhook);
        for installation in found {
            match self.read_hook(installation, hook.clone()).await {
                Ok(received) => return self.take(installation, hook, received).await,
                Err(error @ Error::Unsigned(_)) => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// A hook with what the plugin judges it by: when it came, and how much it may hold.
    fn stamped(&self, hook: Hook, receive_time: Time) -> Hook {
        let limits = JsonLimits {
            // A post may be long: the body's own limit is enough.
            string: usize::MAX,
            ..self.settings.json
        };
        Hook {
            receive_time,
            limits,
            ..hook
        }
    }

    async fn read_hook(&self, installation: &Installation, hook: Hook) -> Result<Received> {
        let plugin = self.plugin(&installation.plugin)?;
        let receive = plugin
            .receive
            .as_ref()
            .ok_or(Error::NotFound(Thing::Webhook))?;
        let call = self.call(plugin, installation).await?;
        receive((call, hook))
            .map_err(|error| self.masked(installation, error.of_plugin(&installation.plugin)))
    }

    /// Keeps a delivery and does what it means, in one transaction. A repeat does
    /// nothing; what cannot be done yet is kept and done later.
    async fn take(
        self: &Arc<Self>,
        installation: &Installation,
        hook: &Hook,
        received: Received,
    ) -> Result<HookReply> {
        let work = Work {
            installation: installation.clone(),
            repeat_key: repeat_key(&received.repeat, hook),
            received,
            hook: hook.clone(),
        };
        let (gateway, doing) = (self.clone(), work.clone());
        if is(Bug::AnswerBeforeCommit) {
            let store = self.store.clone();
            tokio::spawn(async move {
                store
                    .write(async move |tx| gateway.do_work(tx, &doing).await)
                    .await
            });
            return Ok(work.received.reply);
        }
        match self
            .store
            .write(async move |tx| gateway.do_work(tx, &doing).await)
            .await
        {
            Ok((reply, after)) => {
                self.do_after(after);
                Ok(reply)
            }
            Err(
                error @ (Error::StoreUnavailable
                | Error::StoreReadOnly
                | Error::StorageFull
                | Error::Draining),
            ) => Err(error),
            Err(Error::NotFound(Thing::Installation(_))) => Err(Error::NotFound(Thing::Webhook)),
            Err(_) if is(Bug::DropPoison) => Ok(HookReply::ok()),
            Err(error) => {
                let id = installation.id;
                tracing::error!(installation_id = %id, %error, "a delivery could not be processed; it is tried again");
                let kept = self.keep_for_later(work, &error).await;
                kept.map_err(unavailable)
            }
        }
    }

    async fn do_work(
        self: &Arc<Self>,
        tx: &crate::store::Tx,
        work: &Work,
    ) -> Result<(HookReply, After)> {
        let Work {
            installation,
            received,
            ..
        } = work;
        // It may have been disabled since it was looked up.
        installations::find(tx, installation.id).await?;
        let waits = signals::must_wait(tx, installation, &received.signals).await?;
        let delivery = delivery(installation.id, tx.now, waits);
        let hook = waits.then_some(&work.hook);
        let is_new = deliveries::insert(tx, &delivery, work.repeat_key.clone(), hook).await?;
        if !is_new || waits {
            return Ok((received.reply.clone(), After::default()));
        }
        check_processable(&work.hook)?;
        let done = signals::apply(self, tx, installation, &received.signals).await?;
        Ok((reply(received, done.reply), done.after))
    }

    async fn keep_for_later(&self, work: Work, error: &Error) -> Result<HookReply> {
        let problem = error.to_string();
        self.store
            .write(async move |tx| {
                installations::find(tx, work.installation.id).await?;
                let mut delivery = delivery(work.installation.id, tx.now, true);
                delivery.attempt_count = 1;
                delivery.problem.clone_from(&problem);
                delivery.next_attempt_time = Some(super::chores::next_attempt(tx.now, 1));
                deliveries::insert(tx, &delivery, work.repeat_key.clone(), Some(&work.hook))
                    .await?;
                Ok(work.received.reply.clone())
            })
            .await
    }

    /// What platforms delivered to a community, newest first.
    pub async fn list_deliveries(
        &self,
        community_id: CommunityId,
        installation_id: Option<InstallationId>,
        mut wanted: deliveries::Wanted,
        limit: u64,
    ) -> Result<Vec<Delivery>> {
        communities::find(&self.store, &community_id).await?;
        let all = installations::Wanted::of(&community_id);
        let owned = installations::list(&self.store, &all, ALL).await?;
        wanted.installation_ids = owned.iter().map(|installation| installation.id).collect();
        if let Some(id) = installation_id {
            if !wanted.installation_ids.contains(&id) {
                return Err(Error::NotFound(Thing::Installation(id)));
            }
            wanted.installation_ids = vec![id];
        }
        deliveries::list(&self.store, &wanted, limit).await
    }

    /// Tries a delivery again, now. One that is done stays so.
    pub async fn retry_delivery(self: &Arc<Self>, id: DeliveryId) -> Result<Delivery> {
        let gateway = self.clone();
        self.detached(async move { gateway.attempt(id, Under::CALLER).await })
            .await?;
        Ok(deliveries::find(&self.store, id).await?.0)
    }

    /// One more attempt at a delivery that is not done. A caller may try the same one.
    pub(super) async fn attempt(self: &Arc<Self>, id: DeliveryId, under: Under) -> Result<()> {
        let (delivery, hook) = match deliveries::find(&self.store, id).await {
            Err(Error::NotFound(_)) if under.claim.is_some() => return Ok(()),
            found => found?,
        };
        let Some(hook) = hook.filter(|_| delivery.state != DeliveryState::Done) else {
            return self.let_go(under).await;
        };
        let installation = installations::find(&self.store, delivery.installation_id).await?;
        let hook = self.stamped(hook, delivery.receive_time);
        let received = self.read_hook(&installation, hook).await;
        let gateway = self.clone();
        let tried = match received {
            Err(error) => Err(error),
            Ok(received) => {
                self.store
                    .write(async move |tx| {
                        // The whole before its parts.
                        installations::find(tx, installation.id).await?;
                        under.check(tx).await?;
                        let (mut delivery, hook) = deliveries::take(tx, id).await?;
                        if hook.is_none() || delivery.state == DeliveryState::Done {
                            return Ok(After::default());
                        }
                        hook.as_ref().map(check_processable).transpose()?;
                        let waits =
                            signals::must_wait(tx, &installation, &received.signals).await?;
                        if waits {
                            delivery.next_attempt_time =
                                Some(super::chores::next_attempt(tx.now, 1));
                            deliveries::update(tx, &delivery).await?;
                            return Ok(After::default());
                        }
                        let done =
                            signals::apply(&gateway, tx, &installation, &received.signals).await?;
                        delivery.attempt_count += 1;
                        delivery.state = DeliveryState::Done;
                        delivery.next_attempt_time = None;
                        delivery.problem = String::new();
                        deliveries::update(tx, &delivery).await?;
                        Ok(done.after)
                    })
                    .await
            }
        };
        match tried {
            Ok(after) => self.do_after(after),
            Err(Error::ClaimLost) => return Err(Error::ClaimLost),
            Err(error) => self.attempt_failed(id, &error, under).await?,
        }
        Ok(())
    }

    async fn attempt_failed(&self, id: DeliveryId, error: &Error, under: Under) -> Result<()> {
        tracing::warn!(delivery_id = %id, %error, "a delivery could not be processed");
        let problem = error.to_string();
        self.store
            .write(async move |tx| {
                under.check(tx).await?;
                let (mut delivery, _) = deliveries::take(tx, id).await?;
                if delivery.state == DeliveryState::Done {
                    return Ok(());
                }
                delivery.attempt_count += 1;
                delivery.problem.clone_from(&problem);
                let given_up = delivery.attempt_count >= super::chores::MAX_ATTEMPTS;
                let next = super::chores::next_attempt(tx.now, delivery.attempt_count);
                (delivery.state, delivery.next_attempt_time) = match given_up {
                    true => (DeliveryState::Parked, None),
                    false => (DeliveryState::Pending, Some(next)),
                };
                deliveries::update(tx, &delivery).await
            })
            .await
    }
}

/// A verified hook that is to be worked on.
#[derive(Clone)]
struct Work {
    installation: Installation,
    repeat_key: Option<String>,
    received: Received,
    hook: Hook,
}

/// The proof has deliveries that cannot be processed; nobody else has.
fn check_processable(hook: &Hook) -> Result<()> {
    match is_poison(&hook.body) {
        true => Err(Error::internal("it is poison")),
        false => Ok(()),
    }
}

fn delivery(installation_id: InstallationId, now: Time, waits: bool) -> Delivery {
    let state = if waits {
        DeliveryState::Pending
    } else {
        DeliveryState::Done
    };
    Delivery {
        id: DeliveryId::new(),
        installation_id,
        state,
        receive_time: now,
        attempt_count: i32::from(!waits),
        next_attempt_time: waits.then(|| super::chores::next_attempt(now, 1)),
        problem: String::new(),
    }
}

fn repeat_key(repeat: &Repeat, hook: &Hook) -> Option<String> {
    if is(Bug::RepeatById) {
        let id = hook.header("x-discourse-event-id");
        return id.map(|id| format!("id:{id}"));
    }
    match repeat {
        Repeat::Body => Some(format!("body:{}", hex::encode(Sha256::digest(&hook.body)))),
        Repeat::Id(id) => Some(format!("id:{id}")),
        Repeat::Never => None,
    }
}

/// What cannot be kept is for the platform to send again: it is told when.
fn unavailable(error: Error) -> Error {
    match error {
        Error::Internal(what) => {
            tracing::error!(what, "a hook cannot be kept");
            Error::StoreUnavailable
        }
        other => other,
    }
}

/// The voter's answer is the reply, where there was a ballot.
fn reply(received: &Received, voter: Option<Value>) -> HookReply {
    match voter {
        Some(body) if !body.is_null() => HookReply::json(&body),
        _ => received.reply.clone(),
    }
}

fn knows_slug(installation: &Installation, slug: &str, now: Time) -> bool {
    let same = |known: &str| bool::from(known.as_bytes().ct_eq(slug.as_bytes()));
    let old = installation.old_slug.as_ref();
    let old = old.is_some_and(|(old, until)| same(old) && now < *until);
    same(&installation.slug) || old
}
