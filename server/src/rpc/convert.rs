//! The model's words as the contract's.

use metagov_proto::{json, v1};
use prost_types::Timestamp;
use serde_json::Value;

use crate::{
    error::{Error, Result},
    gateway::Gateway,
    model::{
        Account, ActionDescriptor, AuthKind, Change, CloseTimeSupport, Community, Delivery,
        DeliveryState, Event, EventDescriptor, EventKind, FailReason, Identity, Initiator,
        Installation, LinkMethod, LinkQuality, Payload, PlatformEvent, PluginDescriptor, Process,
        ProcessDescriptor, ProcessState, Purpose, Tally, Time,
    },
};

pub(super) fn timestamp(time: Time) -> Timestamp {
    Timestamp {
        seconds: time.0.div_euclid(1_000_000),
        nanos: (time.0.rem_euclid(1_000_000) * 1000) as i32,
    }
}

fn schema(document: &Value) -> Option<prost_types::Struct> {
    document.as_object().cloned().map(json::from_json)
}

impl From<Community> for v1::Community {
    fn from(community: Community) -> Self {
        Self {
            community_id: community.id.to_string(),
            display_name: community.display_name,
            create_time: Some(timestamp(community.create_time)),
            update_time: Some(timestamp(community.update_time)),
            etag: community.etag,
        }
    }
}

impl From<&PluginDescriptor> for v1::Plugin {
    fn from(plugin: &PluginDescriptor) -> Self {
        let auth_kind = match plugin.auth_kind {
            AuthKind::None => v1::AuthKind::None,
            AuthKind::ApiKey => v1::AuthKind::ApiKey,
            AuthKind::Oauth => v1::AuthKind::Oauth,
        };
        Self {
            name: plugin.name.clone(),
            description: plugin.description.clone(),
            auth_kind: auth_kind.into(),
            config_schema: schema(&plugin.config_schema),
            uses_webhook: plugin.uses_webhook,
            actions: plugin.actions.iter().map(Into::into).collect(),
            processes: plugin.processes.iter().map(Into::into).collect(),
            events: plugin.events.iter().map(Into::into).collect(),
            setup_help: plugin.setup_help.clone(),
            unavailable_reason: plugin.unavailable_reason.clone(),
        }
    }
}

impl From<&ActionDescriptor> for v1::ActionDescriptor {
    fn from(action: &ActionDescriptor) -> Self {
        Self {
            action: action.action.clone(),
            description: action.description.clone(),
            parameters_schema: schema(&action.parameters_schema),
            result_schema: schema(&action.result_schema),
            read_only: action.read_only,
            allow_anonymous: action.allow_anonymous,
        }
    }
}

impl From<&ProcessDescriptor> for v1::ProcessDescriptor {
    fn from(process: &ProcessDescriptor) -> Self {
        let support = match process.close_time_support {
            CloseTimeSupport::None => v1::CloseTimeSupport::None,
            CloseTimeSupport::Optional => v1::CloseTimeSupport::Optional,
            CloseTimeSupport::Required => v1::CloseTimeSupport::Required,
        };
        Self {
            process_type: process.process_type.clone(),
            description: process.description.clone(),
            parameters_schema: schema(&process.parameters_schema),
            outcome_schema: schema(&process.outcome_schema),
            closable: process.closable,
            cancellable: process.cancellable,
            is_vote: process.is_vote,
            close_time_support: support.into(),
        }
    }
}

impl From<&EventDescriptor> for v1::EventDescriptor {
    fn from(event: &EventDescriptor) -> Self {
        Self {
            event_type: event.event_type.clone(),
            description: event.description.clone(),
            data_schema: schema(&event.data_schema),
        }
    }
}

/// An installation without the address of its webhook, as in events.
impl From<Installation> for v1::Installation {
    fn from(installation: Installation) -> Self {
        let (problem, problem_time) = installation.problem.unzip();
        Self {
            installation_id: installation.id.to_string(),
            community_id: installation.community_id.to_string(),
            plugin: installation.plugin,
            config: Some(json::from_json(installation.config)),
            platform_id: installation.platform_id,
            webhook_url: String::new(),
            create_time: Some(timestamp(installation.create_time)),
            update_time: Some(timestamp(installation.update_time)),
            etag: installation.etag,
            secret_names: installation.secret_names,
            problem: problem.unwrap_or_default(),
            problem_time: problem_time.map(timestamp),
        }
    }
}

/// An installation as who may configure it sees it.
pub(super) fn installation(gateway: &Gateway, installation: Installation) -> v1::Installation {
    let webhook_url = gateway.webhook_url(&installation);
    v1::Installation {
        webhook_url,
        ..installation.into()
    }
}

impl From<Delivery> for v1::Delivery {
    fn from(delivery: Delivery) -> Self {
        let state = match delivery.state {
            DeliveryState::Pending => v1::DeliveryState::Pending,
            DeliveryState::Done => v1::DeliveryState::Done,
            DeliveryState::Parked => v1::DeliveryState::Parked,
        };
        Self {
            delivery_id: delivery.id.to_string(),
            installation_id: delivery.installation_id.to_string(),
            state: state.into(),
            receive_time: Some(timestamp(delivery.receive_time)),
            attempt_count: delivery.attempt_count,
            next_attempt_time: delivery.next_attempt_time.map(timestamp),
            problem: delivery.problem,
        }
    }
}

/// What callers ask for by a state of deliveries.
pub(super) fn delivery_state(number: i32) -> Result<DeliveryState> {
    match v1::DeliveryState::try_from(number) {
        Ok(v1::DeliveryState::Pending) => Ok(DeliveryState::Pending),
        Ok(v1::DeliveryState::Done) => Ok(DeliveryState::Done),
        Ok(v1::DeliveryState::Parked) => Ok(DeliveryState::Parked),
        _ => Err(Error::invalid("states", "names no state of a delivery")),
    }
}

impl From<ProcessState> for v1::ProcessState {
    fn from(state: ProcessState) -> Self {
        match state {
            ProcessState::Starting => Self::Starting,
            ProcessState::Open => Self::Open,
            ProcessState::Completed => Self::Completed,
            ProcessState::Cancelled => Self::Cancelled,
            ProcessState::Failed => Self::Failed,
        }
    }
}

/// What callers ask for by a state of processes.
pub(super) fn process_state(number: i32) -> Result<ProcessState> {
    match v1::ProcessState::try_from(number) {
        Ok(v1::ProcessState::Starting) => Ok(ProcessState::Starting),
        Ok(v1::ProcessState::Open) => Ok(ProcessState::Open),
        Ok(v1::ProcessState::Completed) => Ok(ProcessState::Completed),
        Ok(v1::ProcessState::Cancelled) => Ok(ProcessState::Cancelled),
        Ok(v1::ProcessState::Failed) => Ok(ProcessState::Failed),
        _ => Err(Error::invalid("states", "names no state of a process")),
    }
}

impl From<Process> for v1::Process {
    fn from(process: Process) -> Self {
        let error = process.error.map(|error| {
            let reason = match error.reason {
                FailReason::OutcomeUnknown => v1::ErrorReason::OutcomeUnknown,
                FailReason::PlatformRejected => v1::ErrorReason::PlatformRejected,
                FailReason::PlatformUnavailable => v1::ErrorReason::PlatformUnavailable,
            };
            v1::ProcessError {
                reason: reason.as_str_name().to_owned(),
                message: error.message,
            }
        });
        Self {
            process_id: process.id.to_string(),
            community_id: process.community_id.to_string(),
            installation_id: process.installation_id.to_string(),
            process_type: process.process_type,
            state: v1::ProcessState::from(process.state).into(),
            url: process.url,
            parameters: (!process.parameters.is_empty())
                .then(|| json::from_json(process.parameters)),
            outcome: Some(json::from_json(process.outcome)),
            error,
            create_time: Some(timestamp(process.create_time)),
            update_time: Some(timestamp(process.update_time)),
            end_time: process.end_time.map(timestamp),
            revision: process.revision,
            title: process.title,
            close_time: process.close_time.map(timestamp),
            tally: process.tally.map(Into::into),
            end_reason: process.end_reason,
        }
    }
}

impl From<Tally> for v1::Tally {
    fn from(tally: Tally) -> Self {
        let option = |option: crate::model::OptionTally| v1::OptionTally {
            option: option.option,
            count: option.count,
            score: option.score,
            user_ids: option.user_ids,
            subject: option.subject,
            leading: option.leading,
        };
        Self {
            options: tally.options.into_iter().map(option).collect(),
            voter_count: tally.voter_count,
            eligible_count: tally.eligible_count,
            leading_options: tally.leading_options,
        }
    }
}

impl From<Identity> for v1::Identity {
    fn from(identity: Identity) -> Self {
        Self {
            identity_id: identity.id.to_string(),
            community_id: identity.community_id.to_string(),
            accounts: identity.accounts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Account> for v1::Account {
    fn from(account: Account) -> Self {
        let method = match account.link_method {
            LinkMethod::Unknown => v1::LinkMethod::Unspecified,
            LinkMethod::Oauth => v1::LinkMethod::Oauth,
            LinkMethod::Manual => v1::LinkMethod::Manual,
            LinkMethod::Email => v1::LinkMethod::Email,
        };
        let quality = match account.link_quality {
            LinkQuality::Unknown => v1::LinkQuality::Unspecified,
            LinkQuality::Unconfirmed => v1::LinkQuality::Unconfirmed,
            LinkQuality::Weak => v1::LinkQuality::Weak,
            LinkQuality::Strong => v1::LinkQuality::Strong,
        };
        Self {
            provider: account.provider,
            platform_id: account.platform_id,
            user_id: account.user_id,
            link_method: method.into(),
            link_quality: quality.into(),
            custom_data: (!account.custom_data.is_empty())
                .then(|| json::from_json(account.custom_data)),
        }
    }
}

/// How a link was made, as callers say it.
pub(super) fn link_method(field: &str, number: i32) -> Result<LinkMethod> {
    match v1::LinkMethod::try_from(number) {
        Ok(v1::LinkMethod::Unspecified) => Ok(LinkMethod::Unknown),
        Ok(v1::LinkMethod::Oauth) => Ok(LinkMethod::Oauth),
        Ok(v1::LinkMethod::Manual) => Ok(LinkMethod::Manual),
        Ok(v1::LinkMethod::Email) => Ok(LinkMethod::Email),
        Err(_) => Err(Error::invalid(field, "names no link method")),
    }
}

/// How sure a link is, as callers say it.
pub(super) fn link_quality(field: &str, number: i32) -> Result<LinkQuality> {
    match v1::LinkQuality::try_from(number) {
        Ok(v1::LinkQuality::Unspecified) => Ok(LinkQuality::Unknown),
        Ok(v1::LinkQuality::Unconfirmed) => Ok(LinkQuality::Unconfirmed),
        Ok(v1::LinkQuality::Weak) => Ok(LinkQuality::Weak),
        Ok(v1::LinkQuality::Strong) => Ok(LinkQuality::Strong),
        Err(_) => Err(Error::invalid(field, "names no link quality")),
    }
}

/// What an authorization is for, as callers say it.
pub(super) fn purpose(field: &str, number: i32) -> Result<Purpose> {
    match v1::AuthorizePurpose::try_from(number) {
        Ok(v1::AuthorizePurpose::Unspecified | v1::AuthorizePurpose::Install) => {
            Ok(Purpose::Install)
        }
        Ok(v1::AuthorizePurpose::Login) => Ok(Purpose::Login),
        Err(_) => Err(Error::invalid(field, "names no purpose")),
    }
}

/// A kind of event, as callers say it.
pub(super) fn event_kind(field: &str, number: i32) -> Result<EventKind> {
    match v1::EventKind::try_from(number) {
        Ok(v1::EventKind::Platform) => Ok(EventKind::Platform),
        Ok(v1::EventKind::ProcessChanged) => Ok(EventKind::Process),
        Ok(v1::EventKind::InstallationChanged) => Ok(EventKind::Installation),
        Ok(v1::EventKind::CommunityChanged) => Ok(EventKind::Community),
        Ok(v1::EventKind::IdentityChanged) => Ok(EventKind::Identity),
        _ => Err(Error::invalid(field, "names no kind of event")),
    }
}

/// The same, as they are told.
pub(super) fn event_kind_number(kind: EventKind) -> i32 {
    let kind = match kind {
        EventKind::Platform => v1::EventKind::Platform,
        EventKind::Process => v1::EventKind::ProcessChanged,
        EventKind::Installation => v1::EventKind::InstallationChanged,
        EventKind::Community => v1::EventKind::CommunityChanged,
        EventKind::Identity => v1::EventKind::IdentityChanged,
    };
    kind.into()
}

/// An event with its cursor. One that was blanked has no payload.
pub(super) fn event(gateway: &Gateway, event: &Event) -> v1::Event {
    v1::Event {
        event_id: event.id.to_string(),
        cursor: gateway.cursor(event.position),
        community_id: event.community_id.to_string(),
        record_time: Some(timestamp(event.record_time)),
        payload: event.payload.clone().map(payload),
    }
}

fn payload(payload: Payload) -> v1::event::Payload {
    use v1::event::Payload as Out;
    match payload {
        Payload::Platform(event) => Out::Platform(platform_event(event)),
        Payload::Process(process) => {
            let process = Some((*process).into());
            Out::ProcessChanged(v1::ProcessChanged { process })
        }
        Payload::Installation(installation, change) => {
            let installation = Some((*installation).into());
            let change_kind = change_kind(change);
            Out::InstallationChanged(v1::InstallationChanged {
                installation,
                change_kind,
            })
        }
        Payload::Community(community, change) => {
            let community = Some(community.into());
            let change_kind = change_kind(change);
            Out::CommunityChanged(v1::CommunityChanged {
                community,
                change_kind,
            })
        }
        Payload::Identity(identity, change) => {
            let identity = Some(identity.into());
            let change_kind = change_kind(change);
            Out::IdentityChanged(v1::IdentityChanged {
                identity,
                change_kind,
            })
        }
    }
}

fn platform_event(event: PlatformEvent) -> v1::PlatformEvent {
    let initiator = |who: Initiator| v1::Initiator {
        user_id: who.user_id,
        provider: who.provider,
        identity_id: who.identity_id.map(|id| id.to_string()).unwrap_or_default(),
    };
    v1::PlatformEvent {
        event_type: event.event_type,
        installation_id: event.installation_id.to_string(),
        initiator: event.initiator.map(initiator),
        data: Some(json::from_json(event.data)),
        occur_time: event.occur_time.map(timestamp),
        by_gateway: event.by_gateway,
        data_omitted: event.data_omitted,
    }
}

fn change_kind(change: Change) -> i32 {
    let kind = match change {
        Change::Created => v1::ChangeKind::Created,
        Change::Updated => v1::ChangeKind::Updated,
        Change::Deleted => v1::ChangeKind::Deleted,
    };
    kind.into()
}
