//! Signals: doing what a plugin asks for, all of it in the transaction at hand.

use std::{collections::VecDeque, sync::Arc};

use serde_json::Value;

use super::{Gateway, advance::advance, after::Done, sizes, votes};
use crate::{
    error::{Error, Result},
    model::{
        Account, Change, Identity, IdentityId, Initiator, Installation, NewEvent, Payload,
        PlatformEvent, Process, ProcessState,
    },
    plugins::kit::{Happened, Signal},
    store::{
        Rows, Tx, communities, credentials, deliveries, identities, installations,
        processes::{self, Clock},
    },
};

/// The most signals that follow from others in one step: a fold may ask for more.
const MAX_SIGNALS: usize = 1000;

/// Does all of it, in order.
pub(super) async fn apply(
    gateway: &Arc<Gateway>,
    tx: &Tx,
    installation: &Installation,
    signals: &[Signal],
) -> Result<Done> {
    let mut done = Done::default();
    if signals.is_empty() {
        return Ok(done);
    }
    if signals
        .iter()
        .any(|signal| matches!(signal, Signal::Link { .. }))
    {
        // The whole before its parts.
        communities::take(tx, &installation.community_id).await?;
    }
    // It may have been disabled since it was looked up, and its community deleted.
    installations::find(tx, installation.id).await?;
    let mut waiting: VecDeque<Signal> = signals.iter().cloned().collect();
    let mut count = 0;
    while let Some(signal) = waiting.pop_front() {
        count += 1;
        if count > MAX_SIGNALS {
            return Err(Error::internal("the signals of a step do not end"));
        }
        match signal {
            Signal::Event(happened) => record(gateway, tx, installation, happened).await?,
            Signal::Fold { key, input } => {
                let more = fold(gateway, tx, installation, (key, input)).await?;
                waiting.extend(more);
            }
            Signal::Fetch { what } => {
                deliveries::insert_fetch(tx, installation.id, &what).await?;
                done.after.wake = true;
            }
            Signal::Link { account } => link(tx, installation, account).await?,
            Signal::Revoked { why } => {
                let why = gateway.masked_text(installation, why);
                revoke(tx, installation, why).await?
            }
            Signal::Refresh { key } => {
                let process = processes::find_by_key(tx, installation.id, &key).await?;
                if let Some(process) = process.filter(is_open) {
                    processes::set_clock(tx, process.id, Clock::Refresh, Some(tx.now)).await?;
                    done.after.wake = true;
                }
            }
            Signal::Progress { key, progress } => {
                let process = processes::find_by_key(tx, installation.id, &key).await?;
                if let Some(process) = process.filter(is_open) {
                    let process = processes::take(tx, process.id).await?;
                    // Another gateway may have ended it since it was found.
                    if is_open(&process) {
                        advance(gateway, tx, process, progress).await?;
                    }
                }
            }
            Signal::Ballot { .. } => {
                votes::cast(gateway, tx, installation, signal, &mut done).await?
            }
        }
    }
    Ok(done)
}

/// Whether a hook must wait: it speaks of a process that we do not know, while one is
/// just starting.
pub(super) async fn must_wait(
    at: &impl Rows,
    installation: &Installation,
    signals: &[Signal],
) -> Result<bool> {
    for signal in signals {
        let (Signal::Refresh { key } | Signal::Progress { key, .. } | Signal::Ballot { key, .. }) =
            signal
        else {
            continue;
        };
        if processes::find_by_key(at, installation.id, key)
            .await?
            .is_some()
        {
            continue;
        }
        let starting = processes::Wanted::of(installation.id, &[ProcessState::Starting]);
        return Ok(!processes::list(at, &starting, 1).await?.is_empty());
    }
    Ok(false)
}

fn is_open(process: &Process) -> bool {
    process.state == ProcessState::Open
}

async fn record(
    gateway: &Gateway,
    tx: &Tx,
    installation: &Installation,
    happened: Happened,
) -> Result<()> {
    let plugin = &gateway.plugin(&installation.plugin)?.descriptor.name;
    let (size, depth) = (gateway.settings.max_event_size, gateway.settings.json.depth);
    let fits = sizes::fits(&happened.data, &happened.user_id, size, depth);
    let initiator = match happened.user_id.is_empty() {
        true => None,
        false => Some(initiator(tx, installation, happened.user_id).await?),
    };
    tx.event(NewEvent {
        community_id: installation.community_id.clone(),
        payload: Payload::Platform(PlatformEvent {
            event_type: format!("{plugin}.{}", happened.event_type),
            installation_id: installation.id,
            initiator,
            data: if fits {
                happened.data
            } else {
                Default::default()
            },
            occur_time: happened.occur_time,
            by_gateway: happened.by_gateway,
            data_omitted: !fits,
        }),
    });
    Ok(())
}

/// An account may be known for this community on the platform, or for the platform.
async fn initiator(tx: &Tx, installation: &Installation, user_id: String) -> Result<Initiator> {
    let mut identity_id = None;
    for platform_id in [installation.platform_id.as_str(), ""] {
        let key = account_key(installation, platform_id, &user_id);
        identity_id = identities::owner(tx, &key).await?.map(|(id, _)| id);
        if identity_id.is_some() {
            break;
        }
    }
    let provider = installation.plugin.clone();
    Ok(Initiator {
        user_id,
        provider,
        identity_id,
    })
}

fn account_key(
    installation: &Installation,
    platform_id: &str,
    user_id: &str,
) -> identities::AccountKey {
    identities::AccountKey {
        community_id: installation.community_id.clone(),
        provider: installation.plugin.clone(),
        platform_id: platform_id.to_owned(),
        user_id: user_id.to_owned(),
    }
}

async fn fold(
    gateway: &Gateway,
    tx: &Tx,
    installation: &Installation,
    (key, input): (String, Value),
) -> Result<Vec<Signal>> {
    let plugin = gateway.plugin(&installation.plugin)?;
    let Some(fold) = &plugin.fold else {
        return Err(Error::internal(format!(
            "{} has no fold",
            installation.plugin
        )));
    };
    // Others fold it, too, and there may be no row yet that could be taken.
    installations::take(tx, installation.id).await?;
    let row = installations::state(tx, installation.id, &key).await?;
    let folded = fold((key.clone(), row, input));
    let folded = folded.map_err(|error| gateway.masked(installation, error))?;
    installations::set_state(tx, installation.id, &key, folded.state.as_ref()).await?;
    Ok(folded.signals)
}

/// Links an account to the identity that has it, or to a new one.
async fn link(tx: &Tx, installation: &Installation, mut account: Account) -> Result<()> {
    if account.provider.is_empty() {
        account.provider.clone_from(&installation.plugin);
    }
    let community = &installation.community_id;
    communities::take(tx, community).await?;
    let mut key = account_key(installation, &account.platform_id, &account.user_id);
    key.provider.clone_from(&account.provider);
    let (id, change) = match identities::owner(tx, &key).await? {
        Some((_, known)) if known.link_quality >= account.link_quality => return Ok(()),
        Some((id, _)) => (id, Change::Updated),
        None => {
            let id = IdentityId::new();
            let (community_id, accounts) = (community.clone(), Vec::new());
            identities::insert(
                tx,
                &Identity {
                    id,
                    community_id,
                    accounts,
                },
            )
            .await?;
            (id, Change::Created)
        }
    };
    identities::link(tx, community, id, &account).await?;
    let identity = identities::find(tx, id).await?;
    tx.event(NewEvent {
        community_id: community.clone(),
        payload: Payload::Identity(identity, change),
    });
    Ok(())
}

async fn revoke(tx: &Tx, installation: &Installation, why: String) -> Result<()> {
    let mut current = installations::take(tx, installation.id).await?;
    credentials::delete(tx, installation.id).await?;
    current.problem = Some((why, tx.now));
    current.update_time = tx.now;
    current.etag = super::etag();
    installations::update(tx, &current).await?;
    tx.event(NewEvent {
        community_id: current.community_id.clone(),
        payload: Payload::Installation(Box::new(current), Change::Updated),
    });
    Ok(())
}
